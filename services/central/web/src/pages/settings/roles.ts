/** Roles of people and keys, the least first. */
export const roles = ['viewer', 'operator', 'admin'] as const

export const roleNotes: Record<string, string> = {
  viewer: 'Sees everything, changes nothing',
  operator: 'Also approves, rejects, starts and stops plans, wakes schedules',
  admin: 'Also changes policies, clusters, members and keys',
  agent: 'For one cluster’s agent, not for people',
  platform: 'CloudOptim’s staff',
  service: 'CloudOptim’s own servers',
}
