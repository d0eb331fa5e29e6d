import { useState } from 'react'
import { Button } from './Button'

/** Copies a text. */
export function Copy({ text, label = 'Copy', words }: { text: string; label?: string; words?: boolean }) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    setCopied(true)
    setTimeout(() => setCopied(false), 1500)
  }
  return (
    <Button small kind={words ? 'plain' : 'ghost'} icon={copied ? 'check' : 'copy'} label={words ? undefined : copied ? 'Copied' : label} onClick={() => void copy()}>
      {words ? (copied ? 'Copied' : label) : undefined}
    </Button>
  )
}

/** Text to paste elsewhere. */
export function CodeBlock({ text, label }: { text: string; label: string }) {
  return (
    <figure className="overflow-hidden rounded-md border border-line bg-sunk">
      <figcaption className="flex items-center justify-between border-b border-line py-1 pr-1 pl-3 text-xs text-ink-3">
        {label}
        <Copy text={text} words />
      </figcaption>
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} aria-label={label} className="max-h-72 overflow-auto p-3 font-mono text-xs leading-5">
        {text}
      </pre>
    </figure>
  )
}
