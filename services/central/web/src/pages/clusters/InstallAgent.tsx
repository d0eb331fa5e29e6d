import { useState } from 'react'
import { useAsk } from '@/api/query'
import type { Cluster } from '@/api/schema'
import { span } from '@/format/time'
import { useNow } from '@/live/Live'
import { RotateKey } from '@/pages/cluster/RotateKey'
import { buttonClass } from '@/ui/Button'
import { Card } from '@/ui/Card'
import { CodeBlock } from '@/ui/Copy'
import { FaultView, Skeleton } from '@/ui/Empty'
import { Icon } from '@/ui/Icon'
import { SecretOnce } from '@/ui/SecretOnce'

/** The key, once; the commands to paste; and whether the agent has been heard of. */
export function InstallAgent({ cluster, secret, seen }: { cluster: Cluster; secret?: string; seen: boolean }) {
  const install = useAsk('InventoryService/GetClusterInstall', { cluster_id: cluster.cluster_id })
  if (seen)
    return (
      <Card>
        <p className="flex items-center gap-2">
          <Icon name="check" className="text-ok" />
          <span>
            The agent of <strong>{cluster.cluster_name}</strong> is connected{cluster.k8s_version && `, Kubernetes ${cluster.k8s_version}`}: {cluster.node_count} nodes, {cluster.pod_count} pods.
          </span>
        </p>
      </Card>
    )
  return (
    <>
      <Waiting name={cluster.cluster_name} />
      <Card title="1. Keep the agent’s key">
        {secret ? (
          <SecretOnce secret={secret} label="Agent key" />
        ) : (
          <div className="flex flex-wrap items-center justify-between gap-3">
            <p className="text-sm text-ink-2">The key was shown once, when it was made. If you did not keep it, make another; the one before ends.</p>
            <RotateKey clusterId={cluster.cluster_id} name={cluster.cluster_name} />
          </div>
        )}
      </Card>
      {install.error ? (
        <Card>
          <FaultView fault={install.error} retry={() => void install.refetch()} compact />
        </Card>
      ) : !install.data ? (
        <Card>
          <Skeleton lines={8} />
        </Card>
      ) : (
        <>
          <Card title="2. Install the agent" note="With kubectl and Helm pointing at the cluster. It asks for the key, so that it is not in your shell’s history.">
            <CodeBlock label="Shell" text={install.data.helm_command} />
            <Details title="The same as a values file, for GitOps">
              <CodeBlock label="values.yaml" text={install.data.helm_values} />
            </Details>
            <Details title="How to remove it again">
              <CodeBlock label="Shell" text={install.data.helm_uninstall_command} />
            </Details>
          </Card>
          <Card
            title="3. Let CloudOptim see the AWS account"
            note="Once for each account. Makes the queue of interruptions and a role; its trust policy asks for your external id. Reading a cluster needs it not, launching nodes does."
          >
            <div className="flex flex-col gap-3">
              {install.data.cloudformation_url && (
                <div>
                  <a href={install.data.cloudformation_url} target="_blank" rel="noreferrer" className={buttonClass('primary')}>
                    <Icon name="external" size={15} /> Open CloudFormation
                  </a>
                </div>
              )}
              <CodeBlock label="Shell" text={install.data.cloudformation_command} />
              <Details title="The stack’s template">
                <CodeBlock label="customer.yaml" text={install.data.cloudformation_template} />
              </Details>
              <p className="text-sm text-ink-3">
                External id: <code className="font-mono text-xs">{install.data.external_id}</code>
              </p>
            </div>
          </Card>
        </>
      )}
    </>
  )
}

function Waiting({ name }: { name: string }) {
  const [since] = useState(() => Date.now())
  const now = useNow()
  return (
    <div role="status" className="flex items-center gap-3 rounded-lg border border-line bg-accent-soft px-4 py-3 text-accent">
      <span aria-hidden="true" className="relative flex size-2.5">
        <span className="pulse absolute size-2.5 rounded-full bg-accent" />
      </span>
      <p className="flex-1 text-sm">
        <span className="font-medium">Waiting for the first word of {name}’s agent.</span> This page goes on by itself.
      </p>
      <span className="text-sm">{span((now - since) / 1000)}</span>
    </div>
  )
}

function Details({ title, children }: { title: string; children: React.ReactNode }) {
  return (
    <details className="group mt-3">
      <summary className="flex cursor-pointer list-none items-center gap-1 text-sm font-medium text-ink-2 hover:text-ink">
        <Icon name="right" size={14} className="transition-transform group-open:rotate-90" />
        {title}
      </summary>
      <div className="mt-2">{children}</div>
    </details>
  )
}
