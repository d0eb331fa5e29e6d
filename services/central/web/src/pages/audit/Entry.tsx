import { Link } from '@tanstack/react-router'
import type { AuditEntry } from '@/api/schema'
import { atLocal, atUTC } from '@/format/time'
import { Button } from '@/ui/Button'
import { Facts } from '@/ui/Card'
import { CodeBlock, Copy } from '@/ui/Copy'
import { Dialog } from '@/ui/Dialog'
import { Icon } from '@/ui/Icon'
import { rowsOf } from './detail'

type Change = Partial<Record<'action' | 'actor' | 'subject', string>>

/** One entry, whole: what changed, what was asked, and the hash that seals it. */
export function Entry({ entry, cluster, onClose, onFilter }: { entry: AuditEntry; cluster?: string; onClose: () => void; onFilter: (change: Change) => void }) {
  const rows = rowsOf(entry.detail)
  const changed = rows.filter((row) => row.after !== undefined)
  const values = rows.filter((row) => row.after === undefined)
  const plan = entry.action.startsWith('optimization.') && /^[0-9a-f-]{36}$/.test(entry.subject)
  return (
    <Dialog open wide onClose={onClose} title={<code className="font-mono">{entry.action}</code>} about={`${entry.actor}, ${atLocal(entry.at)}`}>
      <div className="flex flex-col gap-4">
        <Facts
          facts={[
            ['Who', <Filtered key="who" text={entry.actor} label="Only this actor" onFilter={() => onFilter({ actor: entry.actor })} />],
            ['To what', plan ? <Link key="what" to="/plans/$planId" params={{ planId: entry.subject }} className="text-accent underline">{entry.subject}</Link> : entry.subject ? <Filtered key="what" text={entry.subject} label="Only this subject" onFilter={() => onFilter({ subject: entry.subject })} /> : '–'],
            ['Cluster', cluster ?? (entry.cluster_id || '–')],
            ['When', `${atLocal(entry.at)} (${atUTC(entry.at)})`],
            ['Request', entry.request_id ? <Copied key="request" text={entry.request_id} label="Copy the request id" /> : 'None: an automated act'],
            ['Position', Number(entry.sequence) > 0 ? `#${entry.sequence}` : 'Not sealed yet'],
            ['Hash', entry.hash ? <Copied key="hash" text={entry.hash} label="Copy the hash" /> : '–'],
          ]}
        />
        {changed.length > 0 && (
          <table className="w-full text-left text-sm" aria-label="What changed">
            <thead className="text-xs text-ink-3">
              <tr>
                <th scope="col" className="py-1 pr-3 font-medium">What changed</th>
                <th scope="col" className="px-3 py-1 font-medium">Before</th>
                <th scope="col" className="px-3 py-1 font-medium">After</th>
              </tr>
            </thead>
            <tbody>
              {changed.map((row) => (
                <tr key={row.path} className="border-t border-line/70 align-top">
                  <th scope="row" className="py-1.5 pr-3 font-mono text-xs font-normal break-all">{row.path}</th>
                  <td className="bg-bad-soft/50 px-3 py-1.5 break-all">{row.before}</td>
                  <td className="bg-ok-soft/60 px-3 py-1.5 break-all">
                    <Icon name="arrow" size={12} className="mr-1 inline text-ink-3" />
                    {row.after}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {values.length > 0 && <Facts className="text-sm" facts={values.slice(0, 60).map((row) => [row.path, <span key={row.path} className="break-all">{row.value}</span>])} />}
        <CodeBlock label="Detail as JSON" text={JSON.stringify(entry.detail ?? {}, null, 2)} />
      </div>
    </Dialog>
  )
}

function Filtered({ text, label, onFilter }: { text: string; label: string; onFilter: () => void }) {
  return (
    <span className="inline-flex items-center gap-1.5 break-all">
      {text}
      <Button small kind="ghost" icon="search" label={label} onClick={onFilter} />
    </span>
  )
}

function Copied({ text, label }: { text: string; label: string }) {
  return (
    <span className="inline-flex items-center gap-1.5">
      <code className="font-mono text-xs break-all">{text}</code>
      <Copy text={text} label={label} />
    </span>
  )
}
