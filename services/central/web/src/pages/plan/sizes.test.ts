import { describe, expect, it } from 'vitest'
import type { RequestChange } from '@/api/schema'
import { cpuText, memoryShort, memoryText, patchOf } from './sizes'

const mib = 2 ** 20

function change(container: string, more: Partial<RequestChange> = {}): RequestChange {
  return {
    namespace: 'shop', kind: 'Deployment', name: 'web', container, replicas: 2, verdict: 'change', confidence: 0.9, savings_per_month: 3, days: 8, notes: [],
    cpu: { from: '500', to: '350', limit: '0', target: '120', verdict: 'change', reason: 'oversized', detail: '' },
    memory: { from: `${256 * mib}`, to: `${256 * mib}`, limit: '0', target: '0', verdict: 'keep', reason: 'less_than_a_week', detail: '' },
    ...more,
  }
}

describe('amounts', () => {
  it('are written as Kubernetes reads them, exactly', () => {
    expect([cpuText('350'), cpuText('2000'), cpuText(0)]).toEqual(['350m', '2', '0'])
    expect([memoryText(`${256 * mib}`), memoryText(3 * 2 ** 30), memoryText(1536 * mib), memoryText('1000001')]).toEqual(['256Mi', '3Gi', '1536Mi', '1000001'])
    expect([memoryShort(`${2048 * mib}`), memoryShort('1'), memoryShort(0)]).toEqual(['2,048 MiB', '1 MiB', '0'])
  })
})

describe('a patch', () => {
  it('sets what changes, of all containers of the workload, and nothing else', () => {
    const app = change('app')
    const proxy = change('proxy', { memory: { from: '0', to: `${64 * mib}`, limit: `${128 * mib}`, target: '0', verdict: 'change', reason: 'no_request', detail: '' } })
    const kept = change('kept', { verdict: 'keep' })
    const other = change('app', { name: 'other' })
    const patch = patchOf([app, proxy, kept, other], app)
    expect(patch?.manifest).toBe(
      [
        'spec:',
        '  template:',
        '    spec:',
        '      containers:',
        '        - name: "app"',
        '          resources:',
        '            requests:',
        '              cpu: "350m"',
        '        - name: "proxy"',
        '          resources:',
        '            requests:',
        '              cpu: "350m"',
        '              memory: "64Mi"',
        '            limits:',
        '              memory: "128Mi"',
        '',
      ].join('\n'),
    )
    expect(patch?.command).toBe(
      `kubectl --namespace shop patch deployment web --type strategic --patch '{"spec":{"template":{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"350m"}}},{"name":"proxy","resources":{"requests":{"cpu":"350m","memory":"64Mi"},"limits":{"memory":"128Mi"}}}]}}}}'`,
    )
  })
  it('of a CronJob is of its jobs', () => {
    const one = change('app', { kind: 'CronJob' })
    expect(patchOf([one], one)?.manifest).toContain('spec:\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          containers:')
  })
  it('is not made where it could not be applied', () => {
    const job = change('app', { kind: 'Job' })
    expect(patchOf([job], job)).toBeUndefined()
    const kept = change('app', { verdict: 'keep' })
    expect(patchOf([kept], kept)).toBeUndefined()
  })
  it('runs nothing that a name says', () => {
    const evil = change('app', { name: "web'; rm -rf /; '" })
    expect(patchOf([evil], evil)?.command).toContain(`patch deployment 'web'\\''; rm -rf /; '\\''' --type`)
  })
})
