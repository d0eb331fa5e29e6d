// Fails the build when the first load of any page needs more JavaScript than the budget. A page's first load is the
// entry, the page's own chunk, and all that these import at once; charts come after it.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

const budget = 300 * 1024
const dist = new URL('../dist/', import.meta.url).pathname
const assets = join(dist, 'assets')
const source = Object.fromEntries(readdirSync(assets).filter((f) => f.endsWith('.js')).map((f) => [f, readFileSync(join(assets, f), 'utf8')]))
const size = Object.fromEntries(Object.entries(source).map(([f, text]) => [f, gzipSync(text).length]))

function closure(file, seen = new Set()) {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const [, imported] of source[file].matchAll(/(?:from|import)\s*"\.\/([\w.-]+\.js)"/g)) closure(imported, seen)
  return seen
}

const sum = (files) => [...files].reduce((bytes, file) => bytes + size[file], 0)
const entry = readFileSync(join(dist, 'index.html'), 'utf8').match(/src="\/assets\/([\w.-]+\.js)"/)[1]
const base = closure(entry)
const pages = [...new Set([...source[entry].matchAll(/import\(\s*[`"']\.\/([\w.-]+\.js)[`"']\s*\)/g)].map(([, file]) => file))]
const heaviest = pages
  .map((page) => ({ page, bytes: sum(closure(page, new Set(base))) }))
  .toSorted((a, b) => b.bytes - a.bytes)[0] ?? { page: entry, bytes: sum(base) }

const kb = (bytes) => (bytes / 1024).toFixed(1)
console.log(`first load: ${kb(sum(base))} KB gzipped; with the heaviest page (${heaviest.page}): ${kb(heaviest.bytes)} KB of ${kb(budget)}`)
if (heaviest.bytes > budget) {
  console.error('the first load is over its budget')
  process.exit(1)
}
