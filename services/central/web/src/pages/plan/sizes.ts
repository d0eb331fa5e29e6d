import type { RequestChange, ResourceChange } from '@/api/schema'
import { sentence } from '@/format/words'

/** CPU as Kubernetes writes it: 350m, 2. */
export function cpuText(millicores: string | number | undefined): string {
  const n = Number(millicores ?? 0)
  return n % 1000 === 0 ? `${n / 1000}` : `${n}m`
}

const units: [bytes: number, name: string][] = [
  [2 ** 30, 'Gi'],
  [2 ** 20, 'Mi'],
  [2 ** 10, 'Ki'],
]

/** Memory as Kubernetes writes it, exactly: 128Mi, 3Gi. */
export function memoryText(bytes: string | number | undefined): string {
  const n = Number(bytes ?? 0)
  for (const [size, name] of units) if (n >= size && n % size === 0) return `${n / size}${name}`
  return `${n}`
}

/** Memory for the eye: whole MiB. */
export function memoryShort(bytes: string | number | undefined): string {
  const n = Number(bytes ?? 0)
  return n === 0 ? '0' : `${Math.max(1, Math.round(n / 2 ** 20)).toLocaleString('en-US')} MiB`
}

const whys: Record<string, string> = {
  oversized: 'Requests more than it uses',
  undersized: 'Uses more than it requests',
  oom_kills: 'Was killed for lack of memory',
  no_request: 'Requests nothing',
  below_minimum: 'Below the least allowed',
  above_maximum: 'Above the most allowed',
  within_threshold: 'Close enough to what it uses',
  no_usage: 'Its use is not known',
  little_data: 'Watched too briefly: CPU needs three days to fall, one to rise',
  less_than_a_week: 'Watched for less than a week, which memory needs to fall',
  autoscaled: 'An autoscaler counts by it',
  namespace_excluded: 'Its namespace is left out',
  at_bound: 'At its bound already',
}

/** Why a request changes or stays, for people. */
export const whyText = (reason: string): string => whys[reason] ?? sentence(reason)

const notes: Record<string, string> = {
  memory_never_falls: 'Its memory never falls, as heaps and caches do: all that was used is covered.',
  recurring_peak: 'Some hours of the week or days of the month need more than the rest.',
  restarts: 'It restarted meanwhile.',
}

export const noteText = (note: string): string => notes[note] ?? `${sentence(note)}.`

/** Where a workload's pods are described, by kind; others have no patch. */
const templates: Record<string, string[]> = {
  Deployment: ['spec', 'template', 'spec'],
  StatefulSet: ['spec', 'template', 'spec'],
  DaemonSet: ['spec', 'template', 'spec'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
}

type Amounts = Record<string, string>

function amounts(change: RequestChange): { requests: Amounts; limits: Amounts } {
  const requests: Amounts = {}
  const limits: Amounts = {}
  const add = (name: string, part: ResourceChange | null | undefined, text: (n: string) => string) => {
    if (!part || part.verdict !== 'change') return
    requests[name] = text(part.to)
    if (Number(part.limit) > 0) limits[name] = text(part.limit)
  }
  add('cpu', change.cpu, cpuText)
  add('memory', change.memory, memoryText)
  return { requests, limits }
}

/** A workload's containers that change, to be written into its manifest; undefined where nothing can be patched. */
export function patchOf(all: RequestChange[], of: RequestChange): { manifest: string; command: string } | undefined {
  const path = templates[of.kind]
  const changes = all.filter((c) => c.namespace === of.namespace && c.kind === of.kind && c.name === of.name && c.verdict === 'change')
  if (!path || changes.length === 0) return undefined
  const containers = changes.map((c) => {
    const { requests, limits } = amounts(c)
    return { name: c.container, resources: Object.keys(limits).length > 0 ? { requests, limits } : { requests } }
  })
  const patch = path.toReversed().reduce<object>((inner, key) => ({ [key]: inner }), { containers })
  return {
    manifest: yaml(patch),
    command: `kubectl --namespace ${quoted(of.namespace)} patch ${of.kind.toLowerCase()} ${quoted(of.name)} --type strategic --patch ${quoted(JSON.stringify(patch))}`,
  }
}

/** For a shell: names come from a cluster, and what is copied is run. */
function quoted(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}

function yaml(value: object, indent = ''): string {
  return Object.entries(value)
    .map(([key, inner]: [string, unknown]) => {
      if (Array.isArray(inner)) return `${indent}${key}:\n${inner.map((item: object) => `${indent}  - ${yaml(item, `${indent}    `).trimStart()}`).join('')}`
      if (typeof inner === 'object' && inner !== null) return `${indent}${key}:\n${yaml(inner, `${indent}  `)}`
      return `${indent}${key}: ${JSON.stringify(inner)}\n`
    })
    .join('')
}
