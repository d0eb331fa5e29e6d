import type { Model } from '@/api/schema'
import { bytes, count, decimal } from '@/format/money'
import { word } from '@/format/words'
import { Facts } from '@/ui/Card'
import { Copy } from '@/ui/Copy'
import { Dialog } from '@/ui/Dialog'
import { Icon } from '@/ui/Icon'
import { Time } from '@/ui/Time'

/** One version, whole. */
export function ModelDialog({ model, onClose }: { model: Model; onClose: () => void }) {
  const metrics = Object.entries(model.training_metrics)
  return (
    <Dialog open wide onClose={onClose} title={model.name} about={`${word(model.state)}, ${word(model.kind)}`}>
      <div className="flex flex-col gap-4">
        <Facts
          facts={[
            ['Version', <code key="version" className="font-mono text-xs">{model.model_version}</code>],
            ['Format', word(model.format)],
            ['Size', `${bytes(Number(model.size_bytes))}, ${count(model.trees)} trees, ${count(model.nodes)} nodes`],
            [
              'SHA-256',
              <span key="sum" className="inline-flex items-center gap-1.5">
                <code className="font-mono text-xs break-all">{model.sha256}</code>
                <Copy text={model.sha256} label="Copy the checksum" />
              </span>,
            ],
            ['Uploaded', <span key="up"><Time at={model.created_at} short={false} /> by {model.created_by || '–'}</span>],
            ['Promoted', model.promoted_at ? <span key="pro"><Time at={model.promoted_at} short={false} /> by {model.promoted_by}</span> : 'Never'],
            ...(model.replaced_version ? ([['Replaced', <code key="old" className="font-mono text-xs">{model.replaced_version}</code>]] as [string, React.ReactNode][]) : []),
            ...(model.retired_at ? ([['Retired', <span key="end"><Time at={model.retired_at} short={false} /> by {model.retired_by}</span>]] as [string, React.ReactNode][]) : []),
          ]}
        />
        <Findings ok={model.schema_ok} findings={model.findings} />
        {metrics.length > 0 && (
          <section>
            <h3 className="mb-1.5 text-sm font-medium">Measured by its trainer, not checked</h3>
            <Facts className="text-sm" facts={metrics.map(([name, value]) => [name, decimal(value, 4)])} />
          </section>
        )}
        <section>
          <h3 className="mb-1.5 text-sm font-medium">Asks for {count(model.features.length)} features</h3>
          <ul className="flex flex-wrap gap-1.5">
            {model.features.map((each) => (
              <li key={each} className="rounded-sm bg-sunk px-1.5 py-0.5 font-mono text-xs">
                {each}
              </li>
            ))}
          </ul>
        </section>
      </div>
    </Dialog>
  )
}

/** What the check found. */
export function Findings({ ok, findings }: { ok: boolean; findings: string[] }) {
  return (
    <section className={ok ? 'rounded-md bg-ok-soft px-3 py-2.5 text-ok' : 'rounded-md bg-bad-soft px-3 py-2.5 text-bad'}>
      <h3 className="flex items-center gap-2 text-sm font-medium">
        <Icon name={ok ? 'check' : 'error'} /> {ok ? 'Its check passed: it can be used' : 'Its check did not pass: it is kept, and cannot be promoted'}
      </h3>
      {findings.length > 0 && (
        <ul className="mt-1.5 ml-6 list-disc text-sm">
          {findings.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
    </section>
  )
}
