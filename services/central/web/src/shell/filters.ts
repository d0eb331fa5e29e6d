import { useNavigate, useSearch } from '@tanstack/react-router'
import { useCallback } from 'react'

/** The page's filters, which the URL holds. Setting one replaces the address, so that Back leaves the page. */
export function useFilters<K extends string>(): [Partial<Record<K, string>>, (change: Partial<Record<K, string | undefined>>) => void] {
  const search = useSearch({ strict: false } as never) as Partial<Record<K, string>>
  const navigate = useNavigate()
  const set = useCallback(
    (change: Partial<Record<K, string | undefined>>) => {
      void navigate({ to: '.', replace: true, search: ((old: object) => ({ ...old, ...change })) as never })
    },
    [navigate],
  )
  return [search, set]
}

/** What is looked at on every page: one cluster, or all; for the platform's staff also one customer. */
export function useScope(): { cluster?: string; customer?: string } {
  const { cluster, customer } = useSearch({ strict: false }) as { cluster?: string; customer?: string }
  return { cluster, customer }
}
