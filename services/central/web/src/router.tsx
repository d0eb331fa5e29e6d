import { Navigate, createRootRoute, createRoute, createRouter, lazyRouteComponent, retainSearchParams } from '@tanstack/react-router'
import { Crashed, NotFound } from './shell/Lost'
import { Root } from './shell/Root'

/** Search parameters that a page keeps its filters in: texts, so that addresses stay readable. */
function texts<K extends string>(...names: K[]) {
  return (search: Record<string, unknown>): Partial<Record<K, string>> => {
    const kept: Partial<Record<K, string>> = {}
    for (const name of names) if (typeof search[name] === 'string' && search[name] !== '') kept[name] = search[name]
    return kept
  }
}

const root = createRootRoute({
  component: Root,
  notFoundComponent: NotFound,
  errorComponent: Crashed,
  // The cluster and the customer that is looked at go along from page to page.
  validateSearch: texts('cluster', 'customer'),
  search: { middlewares: [retainSearchParams(['cluster', 'customer'])] },
})

const at = () => root

const routes = [
  // Whoever gets here is signed in: the shell shows the sign-in page to the others, at whatever address.
  createRoute({ getParentRoute: at, path: '/sign-in', component: () => <Navigate to="/" replace /> }),
  createRoute({ getParentRoute: at, path: '/', component: lazyRouteComponent(() => import('./pages/overview/Overview'), 'Overview') }),
  createRoute({
    getParentRoute: at,
    path: '/clusters',
    validateSearch: texts('q', 'status', 'sort'),
    component: lazyRouteComponent(() => import('./pages/clusters/Clusters'), 'Clusters'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/clusters/connect',
    validateSearch: texts('id'),
    component: lazyRouteComponent(() => import('./pages/clusters/Connect'), 'Connect'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/clusters/$clusterId',
    validateSearch: texts('tab', 'q', 'sort', 'node_type', 'zone', 'namespace', 'node', 'type', 'object', 'plan'),
    component: lazyRouteComponent(() => import('./pages/cluster/Cluster'), 'Cluster'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/recommendations',
    validateSearch: texts('type', 'approval', 'status', 'sort', 'dry'),
    component: lazyRouteComponent(() => import('./pages/plans/Recommendations'), 'Recommendations'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/plans/$planId',
    validateSearch: texts('tab', 'verdict', 'q', 'sort'),
    component: lazyRouteComponent(() => import('./pages/plan/Plan'), 'Plan'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/savings',
    validateSearch: texts('tab', 'days', 'sort'),
    component: lazyRouteComponent(() => import('./pages/savings/Savings'), 'Savings'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/schedules',
    validateSearch: texts('id', 'tab', 'zone'),
    component: lazyRouteComponent(() => import('./pages/schedules/Schedules'), 'Schedules'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/spot',
    validateSearch: texts('tab', 'type', 'q', 'sort', 'days'),
    component: lazyRouteComponent(() => import('./pages/spot/Spot'), 'Spot'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/activity',
    validateSearch: texts('type', 'severity', 'plan'),
    component: lazyRouteComponent(() => import('./pages/activity/Activity'), 'Activity'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/policies',
    validateSearch: texts('tab', 'namespace'),
    component: lazyRouteComponent(() => import('./pages/policies/Policies'), 'Policies'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/models',
    validateSearch: texts('tab', 'days'),
    component: lazyRouteComponent(() => import('./pages/models/Models'), 'Models'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/audit',
    validateSearch: texts('action', 'actor', 'subject', 'start', 'end', 'id'),
    component: lazyRouteComponent(() => import('./pages/audit/Audit'), 'Audit'),
  }),
  createRoute({
    getParentRoute: at,
    path: '/settings',
    validateSearch: texts('tab', 'ended'),
    component: lazyRouteComponent(() => import('./pages/settings/Settings'), 'Settings'),
  }),
] as const

export const router = createRouter({
  routeTree: root.addChildren(routes),
  defaultPreload: 'intent',
  defaultPendingMs: 200,
  scrollRestoration: true,
  parseSearch: (search) => Object.fromEntries(new URLSearchParams(search)),
  stringifySearch: (search) => {
    const kept = Object.entries(search).filter(([, value]) => value !== undefined && value !== '')
    const query = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString()
    return query ? `?${query}` : ''
  },
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
