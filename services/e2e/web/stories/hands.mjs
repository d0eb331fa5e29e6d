import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, until } from '../stage.mjs'
import { person, see, world } from './world.mjs'

test('dark is chosen once and kept', async () => {
  const { page, context } = await person(adminKey, { colorScheme: 'light' })
  const theme = (on) => on.evaluate(() => document.documentElement.dataset.theme)
  assert.equal(await theme(page), 'light')
  await page.getByRole('button', { name: /^Account/ }).click()
  await page.getByRole('menuitemradio', { name: 'Dark' }).click()
  assert.equal(await theme(page), 'dark')
  await page.reload()
  await see(page.getByRole('navigation', { name: 'Pages' }))
  assert.equal(await theme(page), 'dark')
  const other = await context.newPage()
  await other.goto('/savings')
  assert.equal(await theme(other), 'dark')
})

test('filters are in the address: a reload and a colleague see the same', async () => {
  const { page } = world.admin
  await page.goto('/recommendations')
  await page.getByLabel('Decision').selectOption('rejected')
  await see(page.getByRole('row').filter({ hasText: 'Consolidation' }))
  assert.match(page.url(), /approval=rejected/)
  const rows = await page.getByRole('row').allInnerTexts()
  await page.reload()
  await see(page.getByRole('row').filter({ hasText: 'Consolidation' }))
  assert.equal(await page.getByLabel('Decision').inputValue(), 'rejected')
  assert.equal((await page.getByRole('row').allInnerTexts()).length, rows.length)
  await page.goto(`/clusters/${world.cluster}?tab=nodes`)
  await page.getByLabel('Bought').selectOption('spot')
  await page.waitForURL(/node_type=spot/)
  await page.reload()
  assert.equal(await page.getByLabel('Bought').inputValue(), 'spot')
})

test('with the keyboard alone: sign in, go to a page, open the stop and leave it', async () => {
  const { page } = await person()
  await page.goto('/')
  await see(page.getByLabel('API key'))
  await tabTo(page, (at) => at.name === 'api-key')
  await page.keyboard.type(adminKey)
  await page.keyboard.press('Enter')
  await see(page.getByRole('navigation', { name: 'Pages' }))
  await tabTo(page, (at) => at.text === 'Skip to the page')
  await tabTo(page, (at) => at.text === 'Savings')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/savings')
  await tabTo(page, (at) => at.text === 'Stop all')
  await page.keyboard.press('Enter')
  const dialog = page.getByRole('dialog')
  await see(dialog)
  for (let i = 0; i < 15; i++) {
    await page.keyboard.press('Tab')
    assert.ok(await page.evaluate(() => Boolean(document.activeElement?.closest('[role=dialog]'))), 'the focus left the dialog')
  }
  // A tip that is asked for while it is still going closes itself, so the keys, faster than any hand, wait for that.
  await tabTo(page, (at) => at.tag === 'TEXTAREA')
  await page.getByRole('tooltip').first().waitFor({ state: 'detached' })
  await tabTo(page, (at) => at.text === 'Stop now')
  await see(page.getByRole('tooltip')) // why it cannot be pressed yet
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'detached', timeout: 2000 })
  await until('the focus is back', async () => (await focused(page)).text === 'Stop all', 2)
})

test('the first Escape closes a dialog, whatever tip is open in it, and the focus is where it was opened', async () => {
  const { page } = await person(adminKey)
  for (const [address, opener] of [
    ['/', 'Stop all'],
    ['/settings?tab=keys', 'Make a key'],
    ['/settings?tab=members', 'Add a member'],
    [`/clusters/${world.cluster}`, 'Make a plan'],
  ]) {
    await page.goto(address)
    const button = page.getByRole('button', { name: opener }).first()
    await button.click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Close' }).hover()
    await see(page.getByRole('tooltip'))
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached', timeout: 2000 })
    await until(`the focus is on ${opener}`, () => button.evaluate((each) => each === document.activeElement), 2)
  }
})

const focused = (page) =>
  page.evaluate(() => ({ tag: document.activeElement?.tagName, name: document.activeElement?.getAttribute('name'), text: document.activeElement?.textContent?.trim() ?? '' }))

/** Presses Tab until the focus is where it is wanted. */
async function tabTo(page, wanted) {
  for (let i = 0; i < 60; i++) {
    if (wanted(await focused(page))) return
    await page.keyboard.press('Tab')
  }
  throw new Error('the keyboard does not get there')
}
