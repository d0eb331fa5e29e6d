import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { forget, meKey } from '@/api/me'
import { useAct, useAsk } from '@/api/query'
import { Button, buttonClass } from '@/ui/Button'
import { FaultFacts, FaultView } from '@/ui/Empty'
import { Field, Input } from '@/ui/Field'
import { Icon, Mark } from '@/ui/Icon'

/** Signs in with an API key or, where one is configured, with the customer's own identity provider. */
export function SignIn() {
  const options = useAsk('AccountService/GetSignInOptions', {})
  useEffect(() => {
    document.title = 'Sign in · CloudOptim'
  }, [])
  return (
    <div className="grid h-full lg:grid-cols-[minmax(20rem,30rem)_1fr]">
      <aside className="hidden flex-col justify-between bg-rail p-10 text-rail-ink lg:flex">
        <span className="flex items-center gap-3 text-rail-accent">
          <Mark size={30} />
          <span className="text-xl font-semibold tracking-tight text-[#eaf3f0]">CloudOptim</span>
        </span>
        <div className="flex max-w-sm flex-col gap-4">
          <p className="text-2xl font-semibold tracking-tight text-[#eaf3f0]">Kubernetes on AWS for less, and nothing moved without your word.</p>
          <p className="text-rail-ink-2">Clusters begin read-only. Every plan shows what it moves and why, every action is in the audit log, and one switch stops it all.</p>
        </div>
        <Packing />
      </aside>
      <main className="grid place-items-center p-6">
        <div className="flex w-full max-w-sm flex-col gap-5">
          <Mark size={34} className="text-accent lg:hidden" />
          <h1 className="text-xl font-semibold tracking-tight">Sign in</h1>
          <Refused />
          {options.data?.oidc && (
            <>
              <a href={`${options.data.oidc_url}?return_to=${encodeURIComponent(wanted())}`} className={buttonClass('primary')}>
                <Icon name="arrow" /> Continue with {options.data.oidc_name || 'single sign-on'}
              </a>
              {options.data.api_key && (
                <p className="flex items-center gap-3 text-sm text-ink-3 before:h-px before:flex-1 before:bg-line after:h-px after:flex-1 after:bg-line">or</p>
              )}
            </>
          )}
          {(options.data?.api_key ?? true) && <KeyForm />}
          {options.error && !options.error.unbuilt && <FaultView fault={options.error} compact />}
        </div>
      </main>
    </div>
  )
}

/** The page that was asked for, where signing in leads back to. */
const wanted = (): string => (location.pathname === '/sign-in' ? '/' : location.pathname + location.search)

const refusals: Record<string, string> = {
  not_a_member: 'You are known to your identity provider, but not a member here. Ask an admin of your company to add you.',
  declined: 'Signing in was declined at your identity provider.',
  expired: 'Signing in took too long, or was begun in another browser. Try again.',
  email_not_verified: 'Your identity provider has not verified your e-mail address.',
  unavailable: 'Your identity provider cannot be reached. Try again in a minute.',
  rate_limited: 'Too many attempts to sign in. Try again in a minute.',
}

/** Why signing in with an identity provider failed: central sends the browser back with the reason in the address. */
function Refused() {
  const said = new URLSearchParams(location.search)
  const code = said.get('error')
  if (!code) return null
  return (
    <p role="alert" className="rounded-md border border-bad/40 bg-bad-soft px-3 py-2 text-sm">
      {refusals[code] ?? 'Signing in did not work. Try again.'}
      {said.get('request_id') && <span className="mt-1 block font-mono text-xs text-ink-2">{said.get('request_id')}</span>}
    </p>
  )
}

function KeyForm() {
  const [key, setKey] = useState('')
  const cache = useQueryClient()
  const enter = useAct('AccountService/CreateSession', {
    quiet: true,
    onDone: () => {
      setKey('')
      forget(cache)
      void cache.resetQueries({ queryKey: meKey })
    },
  })
  const fault = enter.error
  const wrong = fault && (fault.signedOut ? 'This key is unknown, has ended, or is not for people.' : fault.unbuilt ? 'This server cannot sign people in yet.' : fault.message)
  return (
    <form
      className="flex flex-col gap-4"
      onSubmit={(event) => {
        event.preventDefault()
        if (key.trim()) enter.mutate({ api_key: key.trim() })
      }}
    >
      <Field label="API key" hint="A key of scope viewer, operator, admin or platform. It is exchanged for a session and not kept." error={wrong || undefined}>
        {(ids) => <Input {...ids} type="password" name="api-key" autoComplete="current-password" spellCheck={false} autoFocus value={key} onChange={(event) => setKey(event.target.value)} />}
      </Field>
      {fault && <FaultFacts fault={fault} />}
      <Button type="submit" kind="primary" busy={enter.isPending} whyNot={key.trim() ? undefined : 'Enter a key first.'}>
        Sign in
      </Button>
    </form>
  )
}

/** Two half-empty nodes become one full one and a place that is free. */
function Packing() {
  const block = 'rounded-[3px] bg-rail-accent'
  return (
    <div aria-hidden="true" className="grid w-56 grid-cols-4 gap-2">
      {[0, 1, 2, 3, 4, 5, 6, 7].map((i) => (
        <span
          key={i}
          className={i < 5 ? `h-8 ${block}` : 'h-8 rounded-[3px] border border-dashed border-rail-ink-2/60'}
          style={i < 5 ? { opacity: 1 - i * 0.16 } : undefined}
        />
      ))}
    </div>
  )
}
