import type { ReactNode } from 'react'
import type { Fault } from '@/api/fault'
import { Button } from './Button'
import { Copy } from './Copy'
import { cx } from './cx'
import { Icon, type IconName } from './Icon'

/** Nothing to show: why, and what to do next. */
export function Empty({ icon = 'info', title, children, action, compact }: { icon?: IconName; title: string; children?: ReactNode; action?: ReactNode; compact?: boolean }) {
  return (
    <div className={cx('flex flex-col items-center justify-center gap-1 px-6 text-center', compact ? 'py-6' : 'py-12')}>
      <span className="mb-2 grid size-9 place-items-center rounded-full bg-sunk text-ink-3">
        <Icon name={icon} />
      </span>
      <p className="font-medium">{title}</p>
      {children && <div className="max-w-md text-sm text-ink-3">{children}</div>}
      {action && <div className="mt-3 flex gap-2">{action}</div>}
    </div>
  )
}

/** What went wrong, with the id that finds it in central's logs. */
export function FaultView({ fault, retry, compact }: { fault: Fault; retry?: () => void; compact?: boolean }) {
  if (fault.unbuilt)
    return (
      <Empty icon="info" title="This server cannot do this yet" compact={compact}>
        The contract has {fault.rpc ? <code className="font-mono text-xs">{fault.rpc}</code> : 'this'}, the server that answers does not: it said 501. A newer one will.
      </Empty>
    )
  return (
    <div role="alert">
      <Empty icon="error" title={fault.message} compact={compact} action={retry && <Button icon="refresh" onClick={retry}>Try again</Button>}>
        <FaultFacts fault={fault} />
      </Empty>
    </div>
  )
}

/** Code, field and request id of a fault, in small. */
export function FaultFacts({ fault }: { fault: Fault }) {
  const field = fault.details.field ? `${String(fault.details.field)}: ${String(fault.details.constraint ?? '')}` : ''
  return (
    <span className="inline-flex flex-wrap items-center justify-center gap-x-2 text-xs text-ink-3">
      <span>{fault.code}</span>
      {field && <span>{field}</span>}
      {fault.requestId && (
        <span className="inline-flex items-center gap-1">
          request <code className="font-mono">{fault.requestId}</code>
          <Copy text={fault.requestId} label="Copy the request id" />
        </span>
      )}
    </span>
  )
}

/** Grey lines where an answer will be. */
export function Skeleton({ lines = 3, className }: { lines?: number; className?: string }) {
  return (
    <div aria-hidden="true" className={cx('flex flex-col gap-2.5', className)}>
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} className={cx('skeleton h-4', i % 3 === 0 ? 'w-11/12' : i % 3 === 1 ? 'w-3/4' : 'w-5/6')} />
      ))}
    </div>
  )
}
