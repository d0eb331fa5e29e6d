import type { StreamResponse } from '@/api/schema'

/** One message of the stream: what is empty is left out. */
export type Message = Partial<StreamResponse> & { type: string }

/** connecting, live, waiting (to connect again), ended (signed out: no more tries). */
export type LineState =
  | { name: 'connecting'; attempt: number }
  | { name: 'live'; since: number }
  | { name: 'waiting'; attempt: number; until: number; why: string }
  | { name: 'ended'; why: string }

/** What the stream needs of a WebSocket. */
export interface Socket {
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  close(code?: number, reason?: string): void
}

export interface StreamConfig {
  /** ws: or wss: address, without a query. */
  url: string
  open: (url: string) => Socket
  onMessage: (message: Message) => void
  /** Messages may be missing: everything must be read again. */
  onReset: () => void
  onState: (state: LineState) => void
  random?: () => number
  now?: () => number
}

const shortestWait = 500
const longestWait = 30_000
/** Beats that may be missed before a line counts as dead. */
const beatsMissed = 3
/** Shortest silence that counts as death, whatever the beat. */
const leastSilence = 15_000

/**
 * Stream holds one line to /api/v1/admin/stream and opens it again when it breaks, going on behind the last sequence
 * it saw. Where central keeps no sequence, a line that comes back says reset, since messages may have been missed.
 */
export class Stream {
  private readonly config: Required<StreamConfig>
  private socket: Socket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private watch: ReturnType<typeof setTimeout> | undefined
  private attempt = 0
  private sequence = 0
  private hadLine = false
  private beatEvery = 0
  private lastBeat = 0
  private stopped = false

  constructor(config: StreamConfig) {
    this.config = { random: Math.random, now: Date.now, ...config }
  }

  /** Opens the line. */
  start(): void {
    this.stopped = false
    this.connect()
  }

  /** Closes it for good. */
  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
    this.drop()
  }

  /** Tries at once instead of waiting: the network is back, or someone is looking. */
  hurry(): void {
    if (this.stopped || this.socket) return
    clearTimeout(this.timer)
    this.connect()
  }

  private connect(): void {
    const { url, open, now, onState } = this.config
    onState({ name: 'connecting', attempt: this.attempt })
    const socket = open(this.sequence > 0 ? `${url}?after_sequence=${this.sequence}` : url)
    this.socket = socket
    socket.onopen = () => {
      if (this.socket !== socket) return
      onState({ name: 'live', since: now() })
      if (this.hadLine && this.sequence === 0) this.config.onReset()
      this.hadLine = true
      this.beatEvery = 0
      this.lastBeat = 0
    }
    socket.onmessage = (event) => {
      if (this.socket === socket) this.hear(event.data)
    }
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event.reason || 'the connection was lost')
    }
  }

  private hear(data: unknown): void {
    const message = parse(data)
    if (!message) return
    this.attempt = 0
    this.listenForSilence(message)
    const sequence = Number(message.sequence ?? 0)
    switch (message.type) {
      case 'bye':
        this.bye(message.message ?? '')
        return
      case 'reset':
        this.sequence = sequence
        this.config.onReset()
        return
      case 'heartbeat':
        // Central counts on from what it kept, so the newest is where a later line begins.
        this.sequence = Math.max(this.sequence, sequence)
        return
      default:
        this.sequence = Math.max(this.sequence, sequence)
        this.config.onMessage(message)
    }
  }

  private bye(why: string): void {
    this.drop()
    if (why === 'signed_out') {
      this.stopped = true
      this.config.onState({ name: 'ended', why })
      return
    }
    this.lost(why || 'the server closed the stream')
  }

  private lost(why: string): void {
    this.drop()
    if (this.stopped) return
    const { random, now, onState } = this.config
    const most = Math.min(longestWait, shortestWait * 2 ** this.attempt)
    const wait = shortestWait / 2 + random() * most
    this.attempt++
    onState({ name: 'waiting', attempt: this.attempt, until: now() + wait, why })
    this.timer = setTimeout(() => this.connect(), wait)
  }

  // A browser does not see pings, so a dead line is known by the heartbeats that stay away; their pace is central's.
  private listenForSilence(message: Message): void {
    const now = this.config.now()
    if (message.type === 'heartbeat') {
      if (this.lastBeat > 0) this.beatEvery = Math.max(now - this.lastBeat, 1000)
      this.lastBeat = now
    }
    clearTimeout(this.watch)
    if (this.beatEvery === 0) return
    this.watch = setTimeout(() => this.lost('nothing was heard for too long'), Math.max(leastSilence, beatsMissed * this.beatEvery))
  }

  private drop(): void {
    clearTimeout(this.watch)
    const socket = this.socket
    this.socket = null
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(1000)
  }
}

function parse(data: unknown): Message | null {
  if (typeof data !== 'string') return null
  try {
    const message = JSON.parse(data) as Message
    return typeof message?.type === 'string' ? message : null
  } catch {
    return null
  }
}
