import { readFault, type Fault } from '@/api/fault'
import type { UploadModelResponse } from '@/api/schema'
import { routes } from '@/api/schema'

export const formats = ['lightgbm_text', 'xgboost_json', 'cloudoptim'] as const
export type Format = (typeof formats)[number]

export const formatNames: Record<Format, string> = { lightgbm_text: 'LightGBM, text', xgboost_json: 'XGBoost, JSON', cloudoptim: 'CloudOptim' }

/** Guesses a format by how the file begins. */
export function guessFormat(head: string): Format {
  const text = head.trimStart()
  if (text.startsWith('tree') || /^(version|num_class)=/m.test(text)) return 'lightgbm_text'
  if (text.startsWith('{') && text.includes('"learner"')) return 'xgboost_json'
  return text.startsWith('{') ? 'cloudoptim' : 'lightgbm_text'
}

/** A name that the contract takes, made of a file's. */
export function nameOf(file: string): string {
  const name = file.replace(/\.[A-Za-z0-9]+$/, '').replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '')
  return name.slice(0, 128)
}

/** Hex SHA-256 of a file; undefined where the browser makes none: on pages that came without TLS. */
export async function checksum(file: Blob): Promise<string | undefined> {
  if (!globalThis.crypto?.subtle) return undefined
  const sum = await crypto.subtle.digest('SHA-256', await file.arrayBuffer())
  return [...new Uint8Array(sum)].map((each) => each.toString(16).padStart(2, '0')).join('')
}

export type Outcome = { answer: UploadModelResponse; known: boolean } | { fault: Fault }

/** Sends a model as the form that central takes, telling how much of it went. */
export function send(what: { name: string; format: string; sha256: string; file: File }, onProgress: (share: number) => void, signal: AbortSignal): Promise<Outcome> {
  const rpc = 'AdminService/UploadModel'
  const form = new FormData()
  form.append('name', what.name)
  form.append('format', what.format)
  form.append('sha256', what.sha256)
  form.append('file', what.file, what.file.name) // last: central reads fields until it comes
  return new Promise((resolve) => {
    // fetch does not tell how much of a body went.
    const request = new XMLHttpRequest()
    const [method, path] = routes[rpc]
    request.open(method, path)
    request.setRequestHeader('Accept', 'application/json')
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total)
    request.onload = () => {
      const body = parse(request.responseText)
      if (request.status >= 200 && request.status < 300) resolve({ answer: body as UploadModelResponse, known: request.status === 200 })
      else resolve({ fault: readFault(request.status, body, rpc, request.getResponseHeader('X-Request-Id')) })
    }
    const lost = (message: string) => () => resolve({ fault: readFault(0, { error: { code: 'UNREACHABLE', message } }, rpc, null) })
    request.onerror = lost('The connection was lost. Nothing is kept of a part; upload it again.')
    request.onabort = lost('The upload was cancelled. Nothing is kept.')
    signal.addEventListener('abort', () => request.abort())
    request.send(form)
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
