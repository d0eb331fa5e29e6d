import { Fault, readFault } from './fault'
import { routes, type Rpcs } from './schema'

/** Name of an RPC, e.g. GuardService/CreateStop: what is called, what a cache entry is kept under, what /me lists. */
export type Rpc = keyof Rpcs
export type Args<R extends Rpc> = Rpcs[R]['args']
export type Answer<R extends Rpc> = Rpcs[R]['answer']

/** RPCs that answer a list, page by page. */
export type ListRpc = { [R in Rpc]: Answer<R> extends unknown[] ? R : never }[Rpc]
export type Item<R extends ListRpc> = Answer<R> extends (infer E)[] ? E : never

export interface Page<T> {
  items: T[]
  /** Asks for the next page; empty: this is the last. */
  next: string
}

interface Sent {
  url: string
  init: RequestInit
}

/** Makes the request of a call: path fields into the path, the rest into the query or the body. */
export function requestOf<R extends Rpc>(rpc: R, args: Args<R>): Sent {
  const [method, template] = routes[rpc]
  const rest: Record<string, unknown> = { ...(args as Record<string, unknown>) }
  const path = template.replace(/\{([^}]+)\}/g, (_, name: string) => {
    const value = rest[name]
    if (value === undefined || value === null || value === '') throw new Error(`${rpc} needs ${name}`)
    delete rest[name]
    return encodeURIComponent(String(value))
  })
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (method === 'GET' || method === 'DELETE') {
    const query = queryOf(rest)
    return { url: query ? `${path}?${query}` : path, init: { method, headers } }
  }
  headers['Content-Type'] = 'application/json'
  return { url: path, init: { method, headers, body: JSON.stringify(rest) } }
}

function queryOf(fields: Record<string, unknown>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined || value === null || value === '' || value === false || value === 0) continue
    if (Array.isArray(value)) for (const each of value) query.append(name, String(each))
    else query.set(name, String(value))
  }
  return query.toString()
}

async function send(rpc: Rpc, { url, init }: Sent, signal?: AbortSignal): Promise<{ body: unknown; response: Response }> {
  let response: Response
  try {
    response = await fetch(url, { ...init, credentials: 'same-origin', signal })
  } catch (cause) {
    if (signal?.aborted) throw cause
    throw new Fault({ status: 0, code: 'UNREACHABLE', message: 'CloudOptim cannot be reached.', rpc })
  }
  const text = await response.text()
  let body: unknown = null
  try {
    body = text ? JSON.parse(text) : null
  } catch {
    if (response.ok) throw new Fault({ status: response.status, code: 'MALFORMED_ANSWER', message: 'The answer is not JSON.', rpc })
  }
  if (!response.ok) throw readFault(response.status, body, rpc, response.headers.get('X-Request-Id'))
  return { body, response }
}

/** Calls an RPC. Whatever goes wrong is a Fault. */
export async function call<R extends Rpc>(rpc: R, args: Args<R>, signal?: AbortSignal): Promise<Answer<R>> {
  const { body } = await send(rpc, requestOf(rpc, args), signal)
  return body as Answer<R>
}

/** Calls an RPC that lists, for one page. */
export async function callPage<R extends ListRpc>(rpc: R, args: Args<R>, signal?: AbortSignal): Promise<Page<Item<R>>> {
  const { body, response } = await send(rpc, requestOf(rpc, args), signal)
  return { items: (body ?? []) as Item<R>[], next: response.headers.get('Next-Page-Token') ?? '' }
}

/** Sends a body that is no JSON, e.g. a model's file, to an RPC's path. */
export async function callWithBody<R extends Rpc>(rpc: R, body: FormData | Blob, signal?: AbortSignal): Promise<Answer<R>> {
  const [method, path] = routes[rpc]
  const answer = await send(rpc, { url: path, init: { method, body, headers: { Accept: 'application/json' } } }, signal)
  return answer.body as Answer<R>
}
