import { useQuery, type QueryClient } from '@tanstack/react-query'
import { createContext, useContext, useMemo, type ReactNode } from 'react'
import { call, type Rpc } from './client'
import type { Fault } from './fault'
import type { Me } from './schema'

/** Cache key of who is signed in. */
export const meKey = ['AccountService/GetMe', {}] as const

/** Asks who is signed in; a fault that signedOut says nobody is. */
export function useMeQuery() {
  return useQuery<Me | null, Fault>({
    queryKey: meKey,
    queryFn: async ({ signal }) => (await call('AccountService/GetMe', {}, signal)).me ?? null,
    staleTime: 60_000,
  })
}

/** Forgets what was asked on behalf of whoever was signed in. */
export function forget(cache: QueryClient): void {
  cache.removeQueries({ predicate: (query) => query.queryKey[0] !== meKey[0] })
}

interface Rights {
  me: Me
  may: ReadonlySet<string>
}

const Context = createContext<Rights | null>(null)

/** Gives what is below it the caller and their rights. */
export function MeProvider({ me, children }: { me: Me; children: ReactNode }) {
  const rights = useMemo(() => ({ me, may: new Set(me.may_call) }), [me])
  return <Context.Provider value={rights}>{children}</Context.Provider>
}

function useRights(): Rights {
  const rights = useContext(Context)
  if (!rights) throw new Error('used outside of MeProvider')
  return rights
}

/** Who is signed in. */
export const useMe = (): Me => useRights().me

/** Says why the caller may not call an RPC; undefined: they may. */
export function useWhyNot(rpc: Rpc): string | undefined {
  const { me, may } = useRights()
  return may.has(rpc) ? undefined : `Your role (${me.role}) does not allow this.`
}
