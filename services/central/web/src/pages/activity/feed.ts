import type { StreamResponse } from '@/api/schema'
import type { IconName } from '@/ui/Icon'
import type { Message } from '@/live/stream'

/** Kinds of news that one can look at alone, with the stream's types. */
export const kinds = {
  plans: ['Plans', ['optimization_started', 'optimization_step', 'optimization_complete', 'optimization_waiting', 'optimization_decided']],
  interruptions: ['Interruptions', ['spot_event']],
  stops: ['Stops', ['stop']],
  policies: ['Policies', ['policy']],
  schedules: ['Schedules', ['schedule']],
  clusters: ['Clusters', ['cluster']],
  models: ['Models', ['model']],
} as const satisfies Record<string, readonly [string, readonly string[]]>

export type Kind = keyof typeof kinds

export const isKind = (value: string | undefined): value is Kind => value !== undefined && value in kinds

/** The kind that a type belongs to. */
export function kindOf(type: string): Kind | undefined {
  return (Object.keys(kinds) as Kind[]).find((kind) => (kinds[kind][1] as readonly string[]).includes(type))
}

const icons: Record<Kind, IconName> = { plans: 'recommendations', interruptions: 'spot', stops: 'stop', policies: 'policies', schedules: 'schedules', clusters: 'clusters', models: 'data' }

export const iconOf = (type: string): IconName => icons[kindOf(type) ?? 'clusters']

const severities = ['info', 'warning', 'error']

export interface FeedFilter {
  cluster?: string
  kind?: Kind
  severity?: string
  plan?: string
}

/** Whether news belongs to the list: what is not kept (beats, numbers of clusters) does not. */
export function belongs(message: Message, { cluster, kind, severity, plan }: FeedFilter): boolean {
  if (!kindOf(message.type)) return false
  if (cluster && message.cluster_id !== cluster) return false
  if (plan && message.optimization_id !== plan) return false
  if (kind && kindOf(message.type) !== kind) return false
  return severities.indexOf(message.severity || 'info') >= severities.indexOf(severity || 'info')
}

/** A message as lists have it. */
export function whole(message: Message): StreamResponse {
  return { status: '', cluster_id: '', optimization_id: '', step: '', message: '', sequence: '0', severity: 'info', actor: '', subject: '', ...message }
}

/** What tells one message from another. */
export const keyOf = (each: StreamResponse): string => (Number(each.sequence) > 0 ? each.sequence : `${each.timestamp}${each.type}${each.optimization_id}${each.step}${each.message}`)

/** Newer ones before those that are there, each once, by sequence. */
export function merge(newer: readonly StreamResponse[], older: readonly StreamResponse[]): StreamResponse[] {
  const seen = new Set<string>()
  return [...newer, ...older].filter((each) => {
    const key = keyOf(each)
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

/** Where news leads. */
export function placeOf(each: StreamResponse): { to: string; params?: Record<string, string>; search?: Record<string, string>; text: string } | undefined {
  if (each.optimization_id) return { to: '/plans/$planId', params: { planId: each.optimization_id }, text: 'Plan' }
  switch (kindOf(each.type)) {
    case 'interruptions':
      return { to: '/spot', search: { tab: 'timeline', q: each.spot_event?.instance_id ?? each.subject }, text: 'Interruption' }
    case 'stops':
      return { to: '/policies', search: { tab: 'stops' }, text: 'Stops' }
    case 'policies':
      return { to: '/policies', search: each.cluster_id ? { cluster: each.cluster_id } : {}, text: 'Policy' }
    case 'schedules':
      return { to: '/schedules', search: /^[0-9a-f-]{36}$/.test(each.subject) ? { id: each.subject } : {}, text: 'Schedule' }
    case 'models':
      return { to: '/models', text: 'Models' }
    default:
      return each.cluster_id ? { to: '/clusters/$clusterId', params: { clusterId: each.cluster_id }, text: 'Cluster' } : undefined
  }
}
