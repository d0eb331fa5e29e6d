import { Outlet } from '@tanstack/react-router'
import { MeProvider, useMeQuery } from '@/api/me'
import { LiveProvider } from '@/live/Live'
import { SignIn } from '@/pages/signin/SignIn'
import { FaultView } from '@/ui/Empty'
import { Mark } from '@/ui/Icon'
import { Banners } from './Banners'
import { Sidebar } from './Sidebar'
import { TopBar } from './TopBar'

/** Everything: the sign-in page for those who are not signed in, else the shell with the page in it. */
export function Root() {
  const { data: me, error, isPending, refetch } = useMeQuery()
  if (isPending) return <Splash />
  if (error && (error.signedOut || !me)) {
    if (error.signedOut) return <SignIn />
    return (
      <main className="grid h-full place-items-center">
        <FaultView fault={error} retry={() => void refetch()} />
      </main>
    )
  }
  if (!me) return <SignIn />
  return (
    <MeProvider me={me}>
      <LiveProvider>
        <a href="#main" className="sr-only z-50 rounded-md bg-accent px-3 py-2 text-on-accent focus:not-sr-only focus:fixed focus:top-2 focus:left-2">
          Skip to the page
        </a>
        <div className="flex h-full">
          <Sidebar />
          <div className="flex min-w-0 flex-1 flex-col">
            <TopBar />
            <Banners />
            <main id="main" tabIndex={-1} className="min-h-0 flex-1 overflow-y-auto outline-none">
              <Outlet />
            </main>
          </div>
        </div>
      </LiveProvider>
    </MeProvider>
  )
}

function Splash() {
  return (
    <main aria-busy="true" aria-label="Loading" className="grid h-full place-items-center text-accent">
      <Mark size={44} className="pulse" />
    </main>
  )
}
