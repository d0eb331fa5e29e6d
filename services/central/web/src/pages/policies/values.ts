import type { DisruptionBudget, PolicyValues } from '@/api/schema'
import { many, percent } from '@/format/money'
import { span } from '@/format/time'
import { word } from '@/format/words'
import { spansFault } from '@/week/SpanRows'
import { spanInZone, windowsText } from '@/week/windows'
import { isZone } from '@/week/zone'

/** Fields of PolicyValues in the order they are shown. */
export const fields = ['mode', 'windows', 'budgets', 'engines', 'plan_every_minutes', 'min_savings_ratio', 'stale_after_seconds'] as const
export type Field = (typeof fields)[number]

export const fieldNames: Record<Field, string> = {
  mode: 'Mode',
  windows: 'Windows',
  budgets: 'Disruption budgets',
  engines: 'Engines',
  plan_every_minutes: 'Looks for plans',
  min_savings_ratio: 'Least saving',
  stale_after_seconds: 'Oldest state acted on',
}

export const fieldNotes: Record<Field, string> = {
  mode: 'How far CloudOptim may go by itself.',
  windows: 'When plans may disrupt. If any allow, outside of them nothing may; deny goes before allow.',
  budgets: 'How many nodes may be drained. All that apply at a time hold.',
  engines: 'Which plan without being asked.',
  plan_every_minutes: 'How often plans are looked for without being asked.',
  min_savings_ratio: 'Plans that save less of the cluster’s cost are not made.',
  stale_after_seconds: 'Nothing is done on what is known of a cluster when it is older.',
}

/** The ladder, from the least to the most that CloudOptim may do. */
export const modes = ['read_only', 'recommend', 'approve', 'automatic'] as const

export const modeNotes: Record<string, string> = {
  read_only: 'Looks, and tells what could be saved. Changes nothing, not even when AWS takes a node.',
  recommend: 'Keeps plans ready that nobody can start. Acts when AWS takes a node.',
  approve: 'A person lets each plan run. Acts when AWS takes a node.',
  automatic: 'Plans run by themselves, within budgets and windows. Acts when AWS takes a node.',
}

/** How far up the ladder a mode is; unknown ones are at its foot. */
export const rung = (mode: string | null | undefined): number => modes.indexOf(mode as (typeof modes)[number])

/** Minutes as people say them: every 15 min, every 6 h. */
export const everyText = (minutes: number): string => `every ${span(minutes * 60)}`

/** A budget for people. */
export function budgetText({ nodes, nodes_per_hour, during }: DisruptionBudget): string {
  const parts: string[] = []
  if (nodes === '0' || nodes === '0%') parts.push('no node')
  else if (nodes) parts.push(nodes.endsWith('%') ? `at most ${nodes} of the nodes at once` : `at most ${many(Number(nodes), 'node')} at once`)
  if (nodes_per_hour > 0) parts.push(`at most ${many(nodes_per_hour, 'node')} an hour`)
  const what = parts.length > 0 ? parts.join(' and ') : 'no bound'
  return during ? `${what}, during ${spanInZone(during)}` : what
}

/** A value for people; undefined values are not set. */
export function valueText(field: Field, values: PolicyValues | null | undefined, between = '; '): string {
  const value = values?.[field]
  if (value === undefined || value === null) return 'Not set'
  switch (field) {
    case 'mode':
      return word(values?.mode)
    case 'windows':
      return windowsText(values?.windows)
    case 'budgets': {
      const budgets = values?.budgets?.budgets ?? []
      return budgets.length === 0 ? 'No bound' : budgets.map((each) => budgetText(each)).map((text) => text.charAt(0).toUpperCase() + text.slice(1)).join(between)
    }
    case 'engines': {
      const names = values?.engines?.names ?? []
      return names.length === 0 ? 'None plans by itself' : names.map(word).join(' and ')
    }
    case 'plan_every_minutes':
      return everyText(values?.plan_every_minutes ?? 0).replace(/^e/, 'E')
    case 'min_savings_ratio':
      return `${percent(values?.min_savings_ratio)} of the cluster’s cost`
    case 'stale_after_seconds':
      return span(values?.stale_after_seconds)
  }
}

/** Whether two values are the same. */
export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a ?? null) === JSON.stringify(b ?? null)

export interface Change {
  field: Field
  before: string
  after: string
  /** What it means, for people who must decide. */
  meaning?: string
  /** It lets CloudOptim do more than before. */
  loosens: boolean
}

/** What saving would change, with what holds before and after. `around` is what holds where nothing is set here. */
export function changesOf(own: PolicyValues, draft: PolicyValues, around: PolicyValues): Change[] {
  const holds = (values: PolicyValues, field: Field) => (values[field] === undefined || values[field] === null ? around : values)
  return fields
    .filter((field) => !same(own[field], draft[field]))
    .map((field) => {
      const before = holds(own, field)
      const after = holds(draft, field)
      const inherits = draft[field] === undefined || draft[field] === null
      return {
        field,
        before: valueText(field, before),
        after: valueText(field, after) + (inherits ? ', inherited' : ''),
        meaning: field === 'mode' && before.mode !== after.mode ? modeNotes[after.mode ?? 'read_only'] : undefined,
        loosens: loosens(field, before, after),
      }
    })
}

function loosens(field: Field, before: PolicyValues, after: PolicyValues): boolean {
  switch (field) {
    case 'mode':
      return rung(after.mode) > rung(before.mode)
    case 'stale_after_seconds':
      return (after.stale_after_seconds ?? 0) > (before.stale_after_seconds ?? 0)
    case 'windows':
    case 'budgets':
      return !same(before[field], after[field])
    default:
      return false
  }
}

/** What keeps values from being saved. */
export function valuesFault(values: PolicyValues): string | undefined {
  for (const { nodes, nodes_per_hour, during } of values.budgets?.budgets ?? []) {
    if (!/^$|^\d{1,5}$|^(100|\d{1,2})%$/.test(nodes)) return `A budget’s “${nodes}” must be a number of nodes or a share from 0% to 100%.`
    if (nodes === '' && nodes_per_hour === 0) return 'A budget needs a number of nodes, or nodes an hour.'
    if (during && (!isZone(during.time_zone) || spansFault(during.spans, 32))) return 'A budget’s times are not complete.'
  }
  for (const { during } of values.windows?.windows ?? []) {
    if (!during || !isZone(during.time_zone)) return 'A window needs a time zone.'
    const fault = spansFault(during.spans, 32)
    if (fault) return fault
    if (during.first_date && during.last_date && during.last_date < during.first_date) return 'A window’s last date is before its first.'
  }
  return undefined
}
