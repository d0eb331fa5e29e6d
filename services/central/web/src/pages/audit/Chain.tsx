import { useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct } from '@/api/query'
import type { AuditEntry } from '@/api/schema'
import { count } from '@/format/money'
import { FaultFacts } from '@/ui/Empty'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Copy } from '@/ui/Copy'
import { Input } from '@/ui/Field'
import { Icon } from '@/ui/Icon'
import { Time } from '@/ui/Time'

/** The chain of hashes: its head to note elsewhere, and whether it is whole. */
export function Chain({ newest, plain }: { newest?: AuditEntry; plain: boolean }) {
  const whyNot = useWhyNot('AuditService/VerifyAudit')
  const [known, setKnown] = useState('')
  const verify = useAct('AuditService/VerifyAudit', { quiet: true })
  const result = verify.data
  const wrong = known !== '' && !/^[0-9a-f]{64}$/.test(known)
  const head = result?.head || newest?.hash
  return (
    <Card title="Hash chain" note="Each entry’s hash is over the entry and the hash before it. Note the newest one elsewhere: if the log’s end is ever cut off, it will be missing.">
      <div className="flex flex-wrap items-center gap-x-6 gap-y-3">
        <div className="flex min-w-0 flex-wrap items-center gap-x-2">
          <span className="text-sm text-ink-3">{result ? 'Head' : plain ? 'Newest that you see' : 'Newest of these'}</span>
          {head ? (
            <>
              <code className="truncate font-mono text-xs">{head.slice(0, 24)}…</code>
              <Copy text={head} label="Copy the whole hash" />
              {!result && newest && <span className="text-sm text-ink-3">#{newest.sequence}, <Time at={newest.at} /></span>}
            </>
          ) : (
            <span className="text-ink-3">none yet</span>
          )}
        </div>
        <form
          className="flex min-w-0 flex-1 flex-wrap items-center gap-2 sm:justify-end"
          onSubmit={(event) => {
            event.preventDefault()
            if (!whyNot && !wrong) verify.mutate({ known_head: known || undefined })
          }}
        >
          {!whyNot && (
            <Input aria-label="A head that you noted before, to be looked for" placeholder="Noted head (optional)" className="sm:max-w-80 font-mono text-xs!" spellCheck={false} aria-invalid={wrong || undefined} value={known} onChange={(event) => setKnown(event.target.value.trim().toLowerCase())} />
          )}
          <Button type="submit" icon="check" busy={verify.isPending} whyNot={whyNot ?? (wrong ? 'A hash has 64 hex digits.' : undefined)}>
            Verify the chain
          </Button>
        </form>
      </div>
      <div aria-live="polite">
        {result &&
          (result.intact ? (
            <p className="mt-3 flex items-center gap-2 rounded-md bg-ok-soft px-3 py-2.5 text-sm text-ok">
              <Icon name="check" /> Intact: {count(Number(result.entries))} entries recomputed{known ? ', and the noted head is among them' : ''}.{Number(result.unsealed) > 0 && ` ${count(Number(result.unsealed))} not sealed yet.`}
            </p>
          ) : (
            <p role="alert" className="mt-3 flex items-start gap-2 rounded-md bg-bad-soft px-3 py-2.5 text-sm text-bad">
              <Icon name="error" className="mt-0.5" />
              <span>
                <strong>Tampered with.</strong> {Number(result.broken_at) > 0 && `The chain breaks at entry ${result.broken_at}. `}
                {result.problem} Keep the database as it is and compare it with a backup.
              </span>
            </p>
          ))}
        {verify.error && (
          <p role="alert" className="mt-3 text-sm text-bad">
            {verify.error.unbuilt ? 'Verifying is not available on this server yet.' : verify.error.message} <FaultFacts fault={verify.error} />
          </p>
        )}
      </div>
    </Card>
  )
}
