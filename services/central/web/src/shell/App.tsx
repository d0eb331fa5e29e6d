import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { Tooltip } from 'radix-ui'
import { meKey } from '@/api/me'
import { newQueryClient } from '@/api/query'
import { router } from '@/router'
import { Toasts } from '@/ui/Toasts'

// A call that finds the session ended makes who is signed in be asked again, and the answer shows the sign-in page.
const cache = newQueryClient(() => {
  if (cache.getQueryState(meKey)?.status === 'success') void cache.invalidateQueries({ queryKey: meKey })
})

export function App() {
  return (
    <QueryClientProvider client={cache}>
      <Tooltip.Provider delayDuration={250}>
        <RouterProvider router={router} />
        <Toasts />
      </Tooltip.Provider>
    </QueryClientProvider>
  )
}
