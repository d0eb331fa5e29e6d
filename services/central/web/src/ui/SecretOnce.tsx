import { Copy } from './Copy'
import { Icon } from './Icon'

/** A secret that is never shown again. */
export function SecretOnce({ secret, label }: { secret: string; label: string }) {
  return (
    <div className="flex flex-col gap-2">
      <div className="flex items-center gap-2 rounded-md border border-line-strong bg-sunk py-1.5 pr-1.5 pl-3">
        <code aria-label={label} className="min-w-0 flex-1 font-mono text-xs break-all">
          {secret}
        </code>
        <Copy text={secret} words />
      </div>
      <p className="flex items-center gap-1.5 text-sm text-warn">
        <Icon name="warning" size={14} /> Shown once. Copy it now; afterwards only a new one can be made.
      </p>
    </div>
  )
}
