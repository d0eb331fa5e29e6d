/** The words of the contract as people read them. */
const words: Record<string, string> = {
  spot_optimize: 'Spot mix',
  bin_pack: 'Consolidation',
  rightsize: 'Rightsizing',
  schedule: 'Schedule',
  interruption: 'Interruptions',
  read_only: 'Read-only',
  recommend: 'Recommend',
  approve: 'Approve each',
  automatic: 'Automatic',
  'on-demand': 'On-demand',
  spot: 'Spot',
  awaiting: 'Waiting for approval',
  not_needed: 'Not needed',
  GREEN: 'Healthy',
  YELLOW: 'Degraded',
  RED: 'Unhealthy',
  stale_state: 'Stale state',
  another_optimization: 'Another plan',
}

/** A word of the contract as people read it; unknown ones are made readable. */
export function word(value: string | null | undefined): string {
  if (!value) return '–'
  return words[value] ?? sentence(value)
}

/** Text as a sentence begins. */
export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** snake_case as a sentence begins. */
export function sentence(value: string): string {
  return capital(value.replaceAll('_', ' '))
}
