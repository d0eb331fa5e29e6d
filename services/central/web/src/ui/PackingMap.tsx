import { useMemo, useState } from 'react'
import { many, money, percent } from '@/format/money'
import { Button } from './Button'
import { DataTable, type Column } from './DataTable'
import { meanFull, type MapNode } from './packing'

/** Nodes up to which pods are drawn one by one. */
const podsUpTo = 72

interface Sizes {
  height: number
  width: (node: MapNode) => number
  gap: number
  pods: boolean
}

function sizesFor(nodes: MapNode[]): Sizes {
  if (nodes.length <= podsUpTo) {
    const largest = Math.max(...nodes.map((node) => node.cpu), 1)
    return { height: 74, width: (node) => Math.round(26 + 66 * ((node.cpu || largest / 2) / largest)), gap: 6, pods: true }
  }
  if (nodes.length <= 360) return { height: 24, width: () => 24, gap: 4, pods: false }
  return { height: 14, width: () => 14, gap: 2, pods: false }
}

const columns: Column<MapNode>[] = [
  { id: 'name', header: 'Node', cell: (row) => <span className="font-mono text-xs">{row.name}</span>, value: (row) => row.name },
  { id: 'type', header: 'Type', cell: (row) => row.type, value: (row) => row.type },
  { id: 'zone', header: 'Zone', cell: (row) => row.zone, value: (row) => row.zone },
  { id: 'bought', header: 'Bought', cell: (row) => (row.spot ? 'Spot' : 'On-demand'), value: (row) => (row.spot ? 1 : 0) },
  { id: 'pods', header: 'Pods', align: 'right', cell: (row) => row.count, value: (row) => row.count },
  { id: 'full', header: 'Requested', align: 'right', cell: (row) => percent(row.full), value: (row) => row.full },
  { id: 'fate', header: 'Fate', cell: (row) => ({ stays: 'Stays', goes: 'Taken away', new: 'Bought' })[row.fate], value: (row) => row.fate },
]

/** How full every node is: a block a node, filled as far as its pods ask for it, lane by lane a zone. */
export function PackingMap({ title, nodes, ghosts = [] }: { title: string; nodes: MapNode[]; ghosts?: MapNode[] }) {
  const [asTable, setAsTable] = useState(false)
  const [sort, setSort] = useState('')
  const sizes = useMemo(() => sizesFor([...nodes, ...ghosts]), [nodes, ghosts])
  const lanes = useMemo(() => {
    const zones = new Map<string, { node: MapNode; ghost: boolean }[]>()
    for (const [list, ghost] of [
      [nodes, false],
      [ghosts, true],
    ] as const)
      for (const node of list) zones.set(node.zone, [...(zones.get(node.zone) ?? []), { node, ghost }])
    for (const lane of zones.values()) lane.sort((a, b) => a.node.name.localeCompare(b.node.name))
    return [...zones.entries()].toSorted(([a], [b]) => a.localeCompare(b))
  }, [nodes, ghosts])
  const cost = nodes.reduce((sum, node) => sum + node.price, 0)
  const full = meanFull(nodes)
  const summary = `${many(nodes.length, 'node')}, ${money(cost)}/h${full === undefined ? '' : `, ${percent(full)} requested`}`
  return (
    <figure className="min-w-0">
      <figcaption className="mb-3 flex items-center justify-between gap-2">
        <span>
          <span className="font-semibold">{title}</span> <span className="text-sm text-ink-3">{summary}</span>
        </span>
        <Button small kind="ghost" icon={asTable ? 'chart' : 'table'} aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {asTable ? 'Map' : 'Table'}
        </Button>
      </figcaption>
      {asTable ? (
        <DataTable label={`${title}: nodes`} columns={columns} rows={nodes} rowId={(row) => row.name} sort={sort} onSort={setSort} height="26rem" />
      ) : (
        <div role="img" aria-label={`${title}: ${summary}`} className="flex flex-col gap-3">
          {lanes.map(([zone, lane]) => (
            <div key={zone}>
              <p className="mb-1 text-xs text-ink-3">
                {zone || 'No zone'} · {lane.filter((each) => !each.ghost).length}
              </p>
              <div className="flex flex-wrap" style={{ gap: sizes.gap }}>
                {lane.map(({ node, ghost }) => (
                  <Block key={`${node.name}${ghost ? ' gone' : ''}`} node={node} ghost={ghost} sizes={sizes} />
                ))}
              </div>
            </div>
          ))}
        </div>
      )}
    </figure>
  )
}

function Block({ node, ghost, sizes }: { node: MapNode; ghost: boolean; sizes: Sizes }) {
  const { height } = sizes
  const width = sizes.width(node)
  const colour = node.spot ? 'var(--c-spot)' : 'var(--c-demand)'
  const tip = `${node.name}\n${node.type}, ${node.spot ? 'spot' : 'on demand'}, ${money(node.price)}/h\n${many(node.count, 'pod')}, ${node.full === undefined ? 'filling not known yet' : `${percent(node.full)} requested`}`
  if (ghost)
    return (
      <svg width={width} height={height} className="block">
        <title>{`${node.name}\nTaken away`}</title>
        <rect x="0.75" y="0.75" width={width - 1.5} height={height - 1.5} rx="3" fill="none" stroke="var(--line-strong)" strokeDasharray="3 3" />
      </svg>
    )
  const goes = node.fate === 'goes'
  return (
    <svg width={width} height={height} className="block" opacity={goes ? 0.75 : 1}>
      <title>{goes ? `${tip}\nTaken away by the plan` : node.fate === 'new' ? `${tip}\nBought by the plan` : tip}</title>
      <rect
        x="0.75"
        y="0.75"
        width={width - 1.5}
        height={height - 1.5}
        rx="3"
        fill="var(--sunk)"
        stroke={goes ? 'var(--bad)' : node.fate === 'new' ? 'var(--ok)' : 'var(--line-strong)'}
        strokeWidth={node.fate === 'stays' ? 1 : 1.75}
        strokeDasharray={goes ? '4 3' : undefined}
      />
      {sizes.pods && node.pods.length > 0 ? <PodStack node={node} width={width} height={height} colour={colour} /> : node.full !== undefined && <Filling full={node.full} width={width} height={height} colour={colour} />}
    </svg>
  )
}

function Filling({ full, width, height, colour }: { full: number; width: number; height: number; colour: string }) {
  const inner = height - 4
  const tall = Math.max(1, inner * Math.min(1, full))
  return <rect x="2" y={2 + inner - tall} width={width - 4} height={tall} rx="2" fill={colour} />
}

// Pods from the bottom up, each as tall as its share of the node; what is left on top is free.
function PodStack({ node, width, height, colour }: { node: MapNode; width: number; height: number; colour: string }) {
  const inner = height - 4
  const asked = node.pods.reduce((sum, pod) => sum + pod.cpu, 0)
  const scale = asked > 0 ? (inner * Math.min(1, node.full ?? 0)) / asked : 0
  let bottom = 2 + inner
  return node.pods.map((pod) => {
    const tall = pod.cpu * scale
    bottom -= tall
    return (
      <rect
        key={`${pod.namespace}/${pod.name}`}
        x="2"
        y={bottom}
        width={width - 4}
        height={Math.max(0.6, tall - 0.8)}
        rx="1"
        fill={colour}
        opacity={pod.daemon ? 0.35 : pod.moves ? 1 : 0.78}
      />
    )
  })
}

/** What the map's colours and borders mean. */
export function PackingLegend({ plan }: { plan?: boolean }) {
  const box = 'size-3 rounded-[3px]'
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-1 text-sm text-ink-2">
      <li className="flex items-center gap-1.5">
        <span aria-hidden="true" className={`${box} bg-spot`} /> Spot, requested
      </li>
      <li className="flex items-center gap-1.5">
        <span aria-hidden="true" className={`${box} bg-demand`} /> On-demand, requested
      </li>
      <li className="flex items-center gap-1.5">
        <span aria-hidden="true" className={`${box} border border-line-strong bg-sunk`} /> Free
      </li>
      {plan && (
        <>
          <li className="flex items-center gap-1.5">
            <span aria-hidden="true" className={`${box} border-2 border-dashed border-bad`} /> Taken away
          </li>
          <li className="flex items-center gap-1.5">
            <span aria-hidden="true" className={`${box} border-2 border-ok`} /> Bought
          </li>
        </>
      )}
    </ul>
  )
}
