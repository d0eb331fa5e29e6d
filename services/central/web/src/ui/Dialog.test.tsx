import { Tooltip } from 'radix-ui'
import { act, useState } from 'react'
import { createRoot, type Root } from 'react-dom/client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Button } from './Button'
import { Confirm } from './Confirm'
import { Dialog } from './Dialog'

/** A page with a dialog that asks, whose second button opens another in its place. */
function Page() {
  const [shown, setShown] = useState<'first' | 'second' | 'asked' | undefined>()
  const close = () => setShown(undefined)
  return (
    <Tooltip.Provider delayDuration={0}>
      <Button onClick={() => setShown('first')}>Open</Button>
      <Button onClick={() => setShown('asked')}>Ask</Button>
      <Dialog open={shown === 'first'} onClose={close} title="First" actions={<Button whyNot="Not yet.">Act</Button>}>
        <Button onClick={() => setShown('second')}>Go on</Button>
      </Dialog>
      {shown === 'second' && <Dialog open onClose={close} title="Second" />}
      <Confirm open={shown === 'asked'} onClose={close} title="Sure?" act="Act" reason="required" onAct={close} />
    </Tooltip.Provider>
  )
}

let root: Root
beforeEach(async () => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true })
  const box = document.body.appendChild(document.createElement('div'))
  root = createRoot(box)
  await act(async () => root.render(<Page />))
})
afterEach(async () => {
  await act(async () => root.unmount())
  document.body.replaceChildren()
})

const named = (text: string) => [...document.querySelectorAll('button')].find((each) => each.textContent === text)!
const dialog = () => document.querySelector('[role=dialog]')
const tip = () => document.querySelector('[role=tooltip]')
const settle = () => new Promise((done) => setTimeout(done, 20))

async function press(button: HTMLElement) {
  await act(async () => {
    button.focus()
    button.click()
    await settle()
  })
}

/** Waits until the button has the focus, which Radix gives back a moment after it closed. */
const focused = (text: string) => vi.waitFor(() => expect(document.activeElement?.textContent).toBe(text))

async function escape() {
  await act(async () => {
    document.activeElement?.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, cancelable: true }))
    await settle()
  })
}

describe('Escape in a dialog', () => {
  it('closes it, and gives the focus back', async () => {
    await press(named('Open'))
    expect(dialog()).not.toBeNull()
    await escape()
    expect(dialog()).toBeNull()
    await focused('Open')
  })

  it('closes it at once although a tip is open', async () => {
    await press(named('Open'))
    await act(async () => {
      named('Act').focus()
      await settle()
    })
    expect(tip()?.textContent).toContain('Not yet.')
    await escape()
    expect(dialog()).toBeNull()
    expect(tip()).toBeNull()
    await focused('Open')
  })

  it('closes it from the field that has the focus', async () => {
    await press(named('Ask'))
    expect(document.activeElement?.tagName).toBe('TEXTAREA')
    await escape()
    expect(dialog()).toBeNull()
    await focused('Ask')
  })

  it('gives the focus back past a dialog whose place it took', async () => {
    await press(named('Open'))
    await press(named('Go on'))
    expect(dialog()?.textContent).toContain('Second')
    await escape()
    expect(dialog()).toBeNull()
    await focused('Open')
  })
})
