import type { Rpc } from '@/api/client'
import type { IconName } from '@/ui/Icon'

/** A page of the product. Those with `needs` are shown to who may call it. */
export interface Place {
  to: '/' | '/clusters' | '/recommendations' | '/savings' | '/schedules' | '/spot' | '/activity' | '/policies' | '/models' | '/audit' | '/settings'
  text: string
  icon: IconName
  needs?: Rpc
}

export const places: { group: string; places: Place[] }[] = [
  {
    group: 'Save',
    places: [
      { to: '/', text: 'Overview', icon: 'overview' },
      { to: '/clusters', text: 'Clusters', icon: 'clusters' },
      { to: '/recommendations', text: 'Recommendations', icon: 'recommendations' },
      { to: '/savings', text: 'Savings', icon: 'savings' },
    ],
  },
  {
    group: 'Operate',
    places: [
      { to: '/schedules', text: 'Schedules', icon: 'schedules' },
      { to: '/spot', text: 'Spot', icon: 'spot' },
      { to: '/activity', text: 'Activity', icon: 'activity' },
    ],
  },
  {
    group: 'Govern',
    places: [
      { to: '/policies', text: 'Policies', icon: 'policies' },
      { to: '/models', text: 'Models and data', icon: 'data', needs: 'AdminService/ListModels' },
      { to: '/audit', text: 'Audit', icon: 'audit' },
      { to: '/settings', text: 'Settings', icon: 'settings' },
    ],
  },
]
