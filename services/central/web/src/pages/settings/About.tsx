import { useQuery } from '@tanstack/react-query'
import { useMe } from '@/api/me'
import { useAsk } from '@/api/query'
import { decimal } from '@/format/money'
import { viewerZone } from '@/format/time'
import { word } from '@/format/words'
import { useLineState } from '@/live/Live'
import { Dot } from '@/ui/Badge'
import { Card, Facts } from '@/ui/Card'
import { Icon } from '@/ui/Icon'

/** What is behind this page, and how it is. */
export function About() {
  const me = useMe()
  const line = useLineState()
  const ml = useAsk('AdminService/GetMLHealth', {}, { every: 30_000 })
  const api = useQuery({
    queryKey: ['openapi'],
    queryFn: async () => ((await (await fetch('/openapi.json')).json()) as { info?: { title?: string; version?: string } }).info ?? {},
    staleTime: Infinity,
  })
  return (
    <div className="grid items-start gap-4 lg:grid-cols-2">
      <Card title="This server">
        <Facts
          facts={[
            ['API', `${api.data?.title ?? 'CloudOptim'} ${api.data?.version ?? ''}`.trim()],
            ['Live line', <Dot key="line" tone={line.name === 'live' ? 'ok' : 'warn'}>{word(line.name)}</Dot>],
            [
              'Decision server',
              ml.data ? (
                <Dot key="ml" tone={ml.data.status === 'healthy' ? 'ok' : ml.data.status === 'degraded' ? 'warn' : 'bad'}>
                  {word(ml.data.status)}, {ml.data.models_loaded ? 'a model decides' : 'no model is live'}, {decimal(ml.data.latency_ms)} ms away
                </Dot>
              ) : (
                (ml.error?.message ?? '–')
              ),
            ],
          ]}
        />
      </Card>
      <Card title="You">
        <Facts
          facts={[
            ['Name', me.name || '–'],
            ['In the audit log', <code key="actor" className="font-mono text-xs break-all">{me.actor}</code>],
            ['Role', word(me.role)],
            ['Customer', me.customer_name || 'CloudOptim staff'],
            ['Signed in with', me.signed_in_with === 'oidc' ? 'Single sign-on' : 'An API key'],
            ['Times are shown in', `${viewerZone()}; UTC on hover`],
          ]}
        />
      </Card>
      <Card title="For programs" note="Everything these pages show and do is in the REST API.">
        <ul className="flex flex-col gap-2">
          <li>
            <a href="/openapi.json" target="_blank" rel="noreferrer" className="inline-flex min-h-6 items-center gap-1.5 text-accent underline">
              <Icon name="external" size={14} /> OpenAPI description
            </a>
          </li>
        </ul>
      </Card>
    </div>
  )
}
