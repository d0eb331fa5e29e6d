import type { ReactNode } from 'react'
import { useAsk } from '@/api/query'
import type { DecisionResponse, Optimization } from '@/api/schema'
import { count, decimal, money, percent, perMonth } from '@/format/money'
import { sentence } from '@/format/words'
import { Badge } from '@/ui/Badge'
import { Card, Facts } from '@/ui/Card'
import { Empty, FaultView, Skeleton } from '@/ui/Empty'
import { Bought } from '@/ui/States'
import { Time } from '@/ui/Time'

/** What the engine bought, what else it weighed, what its limits cost, and what it rests on. */
export function Weighed({ plan }: { plan: Optimization }) {
  const { data, error, refetch } = useAsk('AdminService/GetOptimizationDecision', { optimization_id: plan.optimization_id })
  if (error && !data)
    return (
      <Card>
        <FaultView fault={error} retry={() => void refetch()} />
      </Card>
    )
  if (!data)
    return (
      <Card>
        <Skeleton lines={8} />
      </Card>
    )
  return (
    <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
      <BuyingCard decision={data} />
      <RiskCard decision={data} />
      {data.consolidation && <ConsolidationCard decision={data} />}
      {data.alternatives.length > 0 && <AlternativesCard decision={data} />}
      {data.limit_costs.length > 0 && <LimitsCard decision={data} />}
      {data.runner_up && (
        <Card title="The next best plan" note={`Not chosen: ${sentence(data.runner_up.reason).toLowerCase()}.`}>
          <Facts
            facts={[
              ['Saves', `${money(data.runner_up.estimated_savings)} a month`],
              ['Judged at', `${money(data.runner_up.judged_per_hour)}/h, this plan at ${money(data.runner_up.chosen_judged_per_hour)}/h`],
              ['Buys', data.runner_up.recommendations.map((each) => `${each.node_count} × ${each.instance_type}`).join(', ') || 'nothing'],
            ]}
          />
        </Card>
      )}
    </div>
  )
}

function Table({ label, head, rows }: { label: string; head: [text: string, right?: boolean][]; rows: ReactNode[][] }) {
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard
    <div role="group" aria-label={label} tabIndex={0} className="max-h-96 overflow-auto -outline-offset-2">
      <table className="w-full text-left">
        <thead>
          <tr className="border-b border-line text-xs text-ink-3">
            {head.map(([text, right]) => (
              <th key={text} scope="col" className={`px-2 py-1.5 font-medium first:pl-4 last:pr-4 ${right ? 'text-right' : ''}`}>
                {text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i} className="border-b border-line/70 last:border-0">
              {row.map((cell, j) => (
                <td key={head[j]![0]} className={`px-2 py-1.5 whitespace-nowrap first:pl-4 last:pr-4 ${head[j]![1] ? 'text-right' : ''}`}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function BuyingCard({ decision }: { decision: DecisionResponse }) {
  return (
    <Card title="What it buys" flush>
      {decision.recommendations.length === 0 ? (
        <Empty icon="node" title="Nothing: the pods fit on what is there" compact />
      ) : (
        <Table
          label="What it buys"
          head={[['Type'], ['Zone'], ['Bought'], ['Nodes', true], ['Price', true], ['On demand', true], ['Risk', true]]}
          rows={decision.recommendations.map((each) => [
            each.instance_type,
            each.availability_zone,
            <Bought key="bought" as={each.node_type} />,
            count(each.node_count),
            `${money(each.hourly_price)}/h`,
            `${money(each.on_demand_hourly_price)}/h`,
            each.node_type === 'spot' ? percent(each.risk_score) : '–',
          ])}
        />
      )}
    </Card>
  )
}

function RiskCard({ decision }: { decision: DecisionResponse }) {
  const risk = (decision.risk_assessment ?? {}) as Record<string, number | string | undefined>
  const number = (name: string) => (typeof risk[name] === 'number' ? risk[name] : undefined)
  const level = typeof risk.level === 'string' ? risk.level : ''
  const metadata = (decision.metadata ?? {}) as Record<string, unknown>
  const asOf = typeof metadata.market_as_of === 'string' ? metadata.market_as_of : typeof metadata.as_of === 'string' ? metadata.as_of : undefined
  return (
    <Card title="Risk, and what it rests on">
      <Facts
        facts={[
          ['Risk', level ? <Badge key="level" tone={level === 'LOW' ? 'ok' : level === 'HIGH' ? 'bad' : 'warn'}>{sentence(level.toLowerCase())}</Badge> : '–'],
          ['Interruptions', `${decimal(number('expected_interruptions_per_month'))} expected in 30 days`],
          ['Mean and highest', `${percent(number('average_risk_score'))}, ${percent(number('max_risk_score'))} of one pool`],
          ['Concentration', `${percent(number('largest_pool_share'))} of the vCPU in one pool, ${percent(number('largest_zone_share'))} in one zone`],
          ['Scored by', decision.risk_model || '–'],
          ['Confidence', percent(decision.confidence_score)],
          ['Prices as of', asOf ? <Time key="asof" at={asOf} /> : '–'],
        ]}
      />
    </Card>
  )
}

function ConsolidationCard({ decision }: { decision: DecisionResponse }) {
  const c = decision.consolidation!
  return (
    <Card title="Saving against disruption">
      <Facts
        facts={[
          ['Cost', `${money(c.cost_before)}/h before, ${money(c.cost_after)}/h after`],
          ['No plan can cost less than', c.lower_bound > 0 ? `${money(c.lower_bound)}/h` : 'not known'],
          ['Evictions', `${count(c.evictions)}, ${decimal(c.evictions_per_pod, 3)} for each pod`],
          ['Score', `${decimal(c.score, 2)}: saves ${percent(c.savings_share)}, disrupts ${percent(c.disruption_share)}`],
          ['Rehearsals survived', count(c.rehearsals)],
          ['Limited by', c.limited_by.length > 0 ? c.limited_by.map((each) => sentence(each)).join(', ') : 'nothing'],
        ]}
      />
    </Card>
  )
}

function AlternativesCard({ decision }: { decision: DecisionResponse }) {
  return (
    <Card title="Other plans that were weighed" flush>
      <Table
        label="Other plans that were weighed"
        head={[['Removed', true], ['Bought', true], ['Evictions', true], ['Cost after', true], ['Not chosen']]}
        rows={decision.alternatives.map((each) => [count(each.nodes_removed), count(each.nodes_bought), count(each.evictions), `${money(each.cost_after)}/h`, sentence(each.reason)])}
      />
    </Card>
  )
}

function LimitsCard({ decision }: { decision: DecisionResponse }) {
  return (
    <Card title="What each limit costs" note="All others kept, one step looser or tighter." flush>
      <Table
        label="What each limit costs"
        head={[['Limit'], ['As it is', true], ['Looser saves', true], ['Tighter costs', true]]}
        rows={decision.limit_costs.map((each) => [
          sentence(each.limit),
          each.value === null || each.value === undefined ? 'none' : JSON.stringify(each.value),
          `${perMonth(each.looser_saves)}`,
          each.tighter_infeasible ? 'nothing would be left' : `${perMonth(each.tighter_costs)}`,
        ])}
      />
    </Card>
  )
}
