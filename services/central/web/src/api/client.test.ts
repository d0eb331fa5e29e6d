import { afterEach, describe, expect, it, vi } from 'vitest'
import { call, callPage, requestOf } from './client'
import { Fault } from './fault'

afterEach(() => vi.unstubAllGlobals())

function answer(status: number, body: unknown, headers: Record<string, string> = {}) {
  const asked: { url: string; init: RequestInit }[] = []
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push({ url, init })
    return new Response(body === undefined ? null : JSON.stringify(body), { status, headers })
  })
  return asked
}

async function fault(of: Promise<unknown>): Promise<Fault> {
  const thrown = await of.then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!(thrown instanceof Fault)) throw new Error(`expected a fault, got ${String(thrown)}`)
  return thrown
}

describe('requests', () => {
  it('put path fields into the path and the rest into the query', () => {
    const { url, init } = requestOf('InventoryService/ListNodes', { cluster_id: 'a/b', search: 'm5 large', page_size: 100, node_type: '' })
    expect(url).toBe('/api/v1/admin/clusters/a%2Fb/nodes?search=m5+large&page_size=100')
    expect(init.method).toBe('GET')
  })
  it('repeat lists in the query', () => {
    expect(requestOf('AdminService/ListActivity', { types: ['stop', 'policy'] } as never).url).toBe('/api/v1/admin/activity?types=stop&types=policy')
  })
  it('put the rest into the body of what changes something', () => {
    const { url, init } = requestOf('GuardService/ApproveOptimization', { optimization_id: 'o-1', reason: 'quiet', etag: 'e' })
    expect(url).toBe('/api/v1/admin/optimizations/o-1/approve')
    expect(JSON.parse(String(init.body))).toEqual({ reason: 'quiet', etag: 'e' })
  })
  it('are not made without what their path needs', () => {
    expect(() => requestOf('AdminService/GetOptimization', { optimization_id: '' })).toThrow('optimization_id')
  })
})

describe('pages', () => {
  it('carry the next page in the header, and end without one', async () => {
    const asked = answer(200, [{ cluster_id: 'c' }], { 'Next-Page-Token': 'p2' })
    expect(await callPage('AdminService/ListClusters', { page_size: 1 })).toEqual({ items: [{ cluster_id: 'c' }], next: 'p2' })
    expect(asked[0]?.init.credentials).toBe('same-origin')
    answer(200, [])
    expect(await callPage('AdminService/ListClusters', { page_token: 'p2' })).toEqual({ items: [], next: '' })
  })
})

describe('faults', () => {
  it('are read from the documented body', async () => {
    answer(422, { error: { code: 'INVALID_REQUEST', message: 'reason is too short', details: { field: 'reason' }, request_id: 'req-1', timestamp: '' } })
    const got = await fault(call('GuardService/CreateStop', { scope: 'customer' }))
    expect({ ...got }).toMatchObject({ status: 422, code: 'INVALID_REQUEST', details: { field: 'reason' }, requestId: 'req-1', rpc: 'GuardService/CreateStop' })
    expect(got.message).toBe('reason is too short')
  })
  it('are told of by their status when a proxy answers', async () => {
    answer(502, undefined)
    expect(await fault(call('AdminService/GetMLHealth', {}))).toMatchObject({ status: 502, code: 'HTTP_502', passing: true })
  })
  it('tell when to come back', async () => {
    answer(429, { error: { code: 'RATE_LIMITED', message: 'too many', details: { retry_after_seconds: 3 }, request_id: 'r', timestamp: '' } })
    expect((await fault(call('AdminService/GetMLHealth', {}))).retryAfterMs).toBe(3000)
  })
  it('tell what is not built and who is not signed in', async () => {
    answer(501, { error: { code: 'UNIMPLEMENTED', message: 'x', details: null, request_id: 'r', timestamp: '' } })
    expect((await fault(call('AdminService/GetMLHealth', {}))).unbuilt).toBe(true)
    answer(401, { error: { code: 'UNAUTHENTICATED', message: 'x', details: {}, request_id: 'r', timestamp: '' } })
    expect((await fault(call('AdminService/GetMLHealth', {}))).signedOut).toBe(true)
  })
  it('tell when central is not reached', async () => {
    vi.stubGlobal('fetch', async () => {
      throw new TypeError('Failed to fetch')
    })
    expect(await fault(call('AdminService/GetMLHealth', {}))).toMatchObject({ status: 0, code: 'UNREACHABLE', passing: true })
  })
})
