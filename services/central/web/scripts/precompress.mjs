// Writes a .br and a .gz beside every file that is worth it, so that central compresses nothing while it serves.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const worth = /\.(js|css|svg|json|txt)$/

export function precompress() {
  let out
  return {
    name: 'precompress',
    apply: 'build',
    configResolved(config) {
      out = join(config.root, config.build.outDir)
    },
    closeBundle() {
      for (const entry of readdirSync(out, { recursive: true })) {
        const file = join(out, String(entry))
        if (!worth.test(file) || !statSync(file).isFile()) continue
        const plain = readFileSync(file)
        if (plain.length < 1024) continue
        writeFileSync(`${file}.gz`, gzipSync(plain, { level: 9 }))
        writeFileSync(`${file}.br`, brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }))
      }
    },
  }
}
