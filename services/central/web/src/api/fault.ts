import type { Rpc } from './client'

/** What went wrong with a call, as the documented error body has it. */
export class Fault extends Error {
  override readonly name = 'Fault'
  /** HTTP status; 0: central was not reached. */
  readonly status: number
  /** Name of the reason, e.g. INVALID_REQUEST; UNREACHABLE when central was not reached. */
  readonly code: string
  /** Facts to act on: field, constraint, retry_after_seconds, … */
  readonly details: Record<string, unknown>
  /** Finds the call in central's logs. */
  readonly requestId: string
  /** What was called. */
  readonly rpc?: Rpc

  constructor(what: { status: number; code: string; message: string; details?: Record<string, unknown>; requestId?: string; rpc?: Rpc }) {
    super(what.message)
    this.status = what.status
    this.code = what.code
    this.details = what.details ?? {}
    this.requestId = what.requestId ?? ''
    this.rpc = what.rpc
  }

  /** The part of the contract exists, its server side does not yet. */
  get unbuilt(): boolean {
    return this.status === 501
  }

  /** The session ended, or there is none. */
  get signedOut(): boolean {
    return this.status === 401
  }

  /** Asking again may help. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status === 502 || this.status === 503 || this.status === 504
  }

  /** Milliseconds to wait before asking again, if central said so. */
  get retryAfterMs(): number | undefined {
    const seconds = Number(this.details.retry_after_seconds)
    return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined
  }
}

/** Any error as a Fault, so that pages show one kind. */
export function faultOf(error: unknown): Fault {
  if (error instanceof Fault) return error
  const message = error instanceof Error ? error.message : String(error)
  return new Fault({ status: 0, code: 'CLIENT', message })
}

/** Reads an error answer; a body that is not the documented one (a proxy's, say) is shown by its status. */
export function readFault(status: number, body: unknown, rpc: Rpc, requestId: string | null): Fault {
  const error = (body as { error?: Record<string, unknown> } | null)?.error
  if (error && typeof error.code === 'string') {
    return new Fault({
      status,
      code: error.code,
      message: typeof error.message === 'string' ? error.message : error.code,
      details: (error.details as Record<string, unknown> | null) ?? {},
      requestId: typeof error.request_id === 'string' ? error.request_id : (requestId ?? ''),
      rpc,
    })
  }
  return new Fault({ status, code: `HTTP_${status}`, message: `The server answered ${status}.`, requestId: requestId ?? '', rpc })
}
