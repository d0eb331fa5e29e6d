import {
  QueryCache,
  QueryClient,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
  type UseQueryResult,
} from '@tanstack/react-query'
import { useMemo } from 'react'
import { toast } from '@/ui/Toasts'
import { call, callPage, type Answer, type Args, type Item, type ListRpc, type Rpc } from './client'
import { Fault, faultOf } from './fault'

/** The cache of all that was asked. Entries are kept under [rpc, args]. */
export function newQueryClient(signedOut: () => void): QueryClient {
  return new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        if (error instanceof Fault && error.signedOut) signedOut()
      },
    }),
    defaultOptions: {
      queries: {
        staleTime: 15_000,
        gcTime: 10 * 60_000,
        refetchOnWindowFocus: true,
        retry: (failures, error) => failures < 3 && faultOf(error).passing,
        retryDelay: (attempt, error) => faultOf(error).retryAfterMs ?? Math.min(1000 * 2 ** attempt, 10_000),
      },
      mutations: { retry: false },
    },
  })
}

export interface AskOptions {
  /** false: not yet. */
  enabled?: boolean
  /** Asks again after so many milliseconds, for what the stream does not tell. */
  every?: number | false
}

/** Asks an RPC and keeps the answer. */
export function useAsk<R extends Rpc>(rpc: R, args: Args<R>, options: AskOptions = {}): UseQueryResult<Answer<R>, Fault> {
  return useQuery<Answer<R>, Fault>({
    queryKey: [rpc, args],
    queryFn: ({ signal }) => call(rpc, args, signal),
    enabled: options.enabled ?? true,
    refetchInterval: options.every ?? false,
  })
}

/** Asks an RPC that lists, page after page; items are all pages so far. */
export function usePages<R extends ListRpc>(rpc: R, args: Args<R>, options: AskOptions = {}) {
  const query = useInfiniteQuery<{ items: Item<R>[]; next: string }, Fault, { pages: { items: Item<R>[]; next: string }[] }, readonly unknown[], string>({
    queryKey: [rpc, args, 'pages'],
    queryFn: ({ pageParam, signal }) => callPage(rpc, pageParam ? { ...args, page_token: pageParam } : args, signal),
    initialPageParam: '',
    getNextPageParam: (last) => last.next || undefined,
    enabled: options.enabled ?? true,
    refetchInterval: options.every ?? false,
  })
  const items = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data])
  return { ...query, items }
}

export interface ActOptions<R extends Rpc> {
  /** What to tell when it is done. */
  done?: string | ((answer: Answer<R>) => string)
  /** RPCs whose answers this changes: they are asked again. */
  changes?: Rpc[]
  onDone?: (answer: Answer<R>, args: Args<R>) => void
  /** The place that calls shows the error itself. */
  quiet?: boolean
}

/** Calls an RPC that changes something; tells how it went. */
export function useAct<R extends Rpc>(rpc: R, options: ActOptions<R> = {}) {
  const cache = useQueryClient()
  return useMutation<Answer<R>, Fault, Args<R>>({
    mutationFn: (args) => call(rpc, args),
    onSuccess: (answer, args) => {
      for (const changed of options.changes ?? []) void cache.invalidateQueries({ queryKey: [changed] })
      const text = typeof options.done === 'function' ? options.done(answer) : options.done
      if (text) toast.done(text)
      options.onDone?.(answer, args)
    },
    onError: (fault) => {
      if (!options.quiet) toast.fault(fault)
    },
  })
}
