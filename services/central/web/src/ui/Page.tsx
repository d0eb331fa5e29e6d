import { useEffect, type ReactNode } from 'react'

/** A page: its heading, what it is about, what can be done, and the rest. */
export function Page({ title, about, actions, children }: { title: string; about?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · CloudOptim`
  }, [title])
  return (
    <div className="mx-auto flex w-full max-w-[92rem] flex-col gap-4 px-4 pt-4 pb-10 sm:px-6 sm:pt-5">
      <header className="flex flex-wrap items-end justify-between gap-x-6 gap-y-2">
        <div className="min-w-0">
          <h1 className="text-xl break-words font-semibold tracking-tight">{title}</h1>
          {about && <div className="text-sm text-ink-3">{about}</div>}
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </div>
  )
}
