import { useMemo, useState } from 'react'
import { useWhyNot } from '@/api/me'
import { useAct, usePages } from '@/api/query'
import type { Model } from '@/api/schema'
import { bytes, count, decimal } from '@/format/money'
import { word } from '@/format/words'
import { Badge, type Tone } from '@/ui/Badge'
import { Button } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { Confirm } from '@/ui/Confirm'
import { DataTable, type Column } from '@/ui/DataTable'
import { Empty } from '@/ui/Empty'
import { Time } from '@/ui/Time'
import { Beside } from './Beside'
import { ModelDialog } from './ModelDialog'
import { UploadDialog } from './UploadDialog'

type Act = 'shadow' | 'promote' | 'retire' | 'rollback'

const tones: Record<string, Tone> = { live: 'ok', shadow: 'info', uploaded: 'plain', retired: 'plain' }
const changes = ['AdminService/ListModels', 'AdminService/GetMLHealth'] as const

/** All versions, and how the live and the shadow one do. */
export function Versions() {
  const models = usePages('AdminService/ListModels', { page_size: 200 }, { every: 30_000 })
  const [asking, setAsking] = useState<{ act: Act; model: Model }>()
  const [looked, setLooked] = useState<string>()
  const [uploading, setUploading] = useState(false)
  const mayNotUpload = useWhyNot('AdminService/UploadModel')
  const mayNotRollBack = useWhyNot('AdminService/RollBackModel')
  const live = models.items.find((each) => each.state === 'live')
  const shadow = models.items.find((each) => each.state === 'shadow')
  const columns = useMemo(() => columnsOf((act, model) => setAsking({ act, model })), [])
  const shown = models.items.find((each) => each.model_version === looked)
  const upload = (
    <Button kind="primary" icon="upload" whyNot={mayNotUpload} onClick={() => setUploading(true)}>
      Upload a model
    </Button>
  )
  return (
    <div className="flex flex-col gap-4">
      {(live || shadow) && <Beside live={live} shadow={shadow} />}
      <Card
        title="Versions"
        note={live ? undefined : 'None is live: risk comes from the fleet’s own record and AWS’s Spot Advisor.'}
        actions={
          <>
            <Button
              icon="refresh"
              whyNot={mayNotRollBack ?? (!live ? 'No model is live.' : live.replaced_version ? undefined : 'The live model replaced none.')}
              onClick={() => live && setAsking({ act: 'rollback', model: live })}
            >
              Roll back
            </Button>
            {upload}
          </>
        }
        flush
      >
        <DataTable
          label="Models"
          columns={columns}
          rows={models.items}
          rowId={(row) => row.model_version}
          onOpen={(row) => setLooked(row.model_version)}
          current={looked}
          loading={models.isPending}
          fault={models.error}
          retry={() => void models.refetch()}
          more={{ has: models.hasNextPage, loading: models.isFetchingNextPage, load: () => void models.fetchNextPage() }}
          empty={
            <Empty icon="data" title="No model was uploaded yet" action={upload}>
              Train one with <code className="font-mono text-xs">ml train</code>, or bring a LightGBM or XGBoost model. It is checked, kept, and decides nothing before it is promoted.
            </Empty>
          }
        />
      </Card>
      {asking && <ActConfirm act={asking.act} model={asking.model} live={live} shadow={shadow} onClose={() => setAsking(undefined)} />}
      {shown && <ModelDialog model={shown} onClose={() => setLooked(undefined)} />}
      {uploading && <UploadDialog onClose={() => setUploading(false)} />}
    </div>
  )
}

function columnsOf(ask: (act: Act, model: Model) => void): Column<Model>[] {
  return [
    {
      id: 'version',
      header: 'Version',
      cell: (row) => (
        <div className="min-w-0">
          <p className="truncate font-medium">{row.name}</p>
          <code className="font-mono text-xs text-ink-3">{row.model_version}</code>
        </div>
      ),
    },
    { id: 'state', header: 'State', width: '7rem', cell: (row) => <Badge tone={tones[row.state] ?? 'plain'}>{word(row.state)}</Badge> },
    { id: 'check', header: 'Check', width: '8rem', cell: (row) => (row.schema_ok ? <Badge tone="ok">usable</Badge> : <span title={row.findings.join('\n')}><Badge tone="bad">not usable</Badge></span>) },
    { id: 'trees', header: 'Trees', align: 'right', width: '6rem', cell: (row) => count(row.trees) },
    { id: 'size', header: 'Size', align: 'right', width: '6rem', cell: (row) => bytes(Number(row.size_bytes)) },
    { id: 'auc', header: 'AUC, by its trainer', align: 'right', width: '9rem', hint: 'As its trainer measured; not checked.', cell: (row) => decimal(row.training_metrics.auc ?? row.training_metrics.AUC, 3) },
    { id: 'at', header: 'Uploaded', width: '9rem', cell: (row) => <Time at={row.created_at} /> },
    { id: 'act', header: '', align: 'right', width: '15rem', cell: (row) => <Acts model={row} ask={ask} /> },
  ]
}

function Acts({ model, ask }: { model: Model; ask: (act: Act, model: Model) => void }) {
  const mayNotShadow = useWhyNot('AdminService/ShadowModel')
  const mayNotPromote = useWhyNot('AdminService/PromoteModel')
  const mayNotRetire = useWhyNot('AdminService/RetireModel')
  const unusable = model.schema_ok ? undefined : 'Its check did not pass.'
  return (
    <span className="inline-flex gap-1.5">
      {model.state !== 'live' && model.state !== 'shadow' && (
        <Button small whyNot={mayNotShadow ?? unusable} onClick={() => ask('shadow', model)}>
          Shadow
        </Button>
      )}
      {model.state !== 'live' && (
        <Button small whyNot={mayNotPromote ?? unusable} onClick={() => ask('promote', model)}>
          Promote
        </Button>
      )}
      {model.state !== 'retired' && (
        <Button small kind="ghost" whyNot={mayNotRetire} onClick={() => ask('retire', model)}>
          Retire
        </Button>
      )}
    </span>
  )
}

interface ActProps {
  act: Act
  model: Model
  live?: Model
  shadow?: Model
  onClose: () => void
}

function ActConfirm({ act, model, live, shadow, onClose }: ActProps) {
  const done = { changes: [...changes], onDone: onClose }
  const toShadow = useAct('AdminService/ShadowModel', { ...done, done: `${model.name} predicts beside the live one now.` })
  const promote = useAct('AdminService/PromoteModel', { ...done, done: `${model.name} decides from now on.` })
  const retire = useAct('AdminService/RetireModel', { ...done, done: `${model.name} is out of use.` })
  const back = useAct('AdminService/RollBackModel', { ...done, done: 'The model before decides again.' })
  const version = model.model_version
  const asked = {
    shadow: {
      title: `Let ${model.name} predict in the shadow?`,
      word: 'Shadow',
      blast: shadow ? `It decides nothing. ${shadow.name} steps back from the shadow.` : 'It decides nothing: its predictions are compared with the live model’s.',
      busy: toShadow.isPending,
      run: () => toShadow.mutate({ model_version: version }),
    },
    promote: {
      title: `Promote ${model.name}?`,
      word: 'Promote',
      blast: `From the next prediction on it scores the risk of every pool of every customer. ${live ? `${live.name} is retired; “Roll back” brings it back.` : 'Until now no model decided.'}${
        model.state === 'shadow' && model.metrics ? '' : ' It has not run in the shadow: nothing is known of how it does here.'
      }`,
      busy: promote.isPending,
      run: () => promote.mutate({ model_version: version, expected_live_version: live?.model_version ?? 'none' }),
    },
    retire: {
      title: `Retire ${model.name}?`,
      word: 'Retire',
      blast: model.state === 'live' ? 'It is the live one. Without it risk comes from the fleet’s own record and AWS’s Spot Advisor.' : 'It is out of use; it can be promoted again.',
      busy: retire.isPending,
      run: () => retire.mutate({ model_version: version }),
    },
    rollback: {
      title: `Roll back ${model.name}?`,
      word: 'Roll back',
      blast: `Version ${model.replaced_version} decides again from the next prediction on; ${model.name} is retired.`,
      busy: back.isPending,
      run: () => back.mutate({ expected_live_version: version }),
    },
  }[act]
  return <Confirm open onClose={onClose} title={asked.title} act={asked.word} danger={act === 'retire' || act === 'rollback'} busy={asked.busy} blastRadius={asked.blast} onAct={asked.run} />
}
