import { fileURLToPath } from 'node:url'
import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'
import { precompress } from './scripts/precompress.mjs'

// Where `npm run dev` finds central. With a key, calls carry it and no one signs in: for development alone; what is
// built knows nothing of it.
const central = process.env.CLOUDOPTIM_URL ?? 'http://127.0.0.1:8080'
const key = process.env.CLOUDOPTIM_KEY
const proxy = {
  target: central,
  ws: true,
  headers: { Origin: central, ...(key ? { Authorization: `Bearer ${key}` } : {}) },
}

export default defineConfig({
  plugins: [react(), tailwindcss(), precompress()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: { port: 5173, proxy: { '/api': proxy, '/auth': proxy, '/openapi.json': proxy } },
  build: {
    target: 'es2023',
    sourcemap: false,
    assetsInlineLimit: 0, // the page's policy allows no data: URLs in scripts and styles
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700, // ECharts, in a chunk that only pages with charts load
  },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
})
