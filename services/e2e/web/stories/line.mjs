import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, stagehand, until } from '../stage.mjs'
import { mark, see, stayed, world } from './world.mjs'

test('the line is cut: a banner, grey data, and what happened meanwhile is there when it is back', async () => {
  const { page } = world.admin
  await page.goto('/activity')
  const feed = page.getByRole('region', { name: 'What happened, newest first' })
  await see(feed)
  // The bar has the word twice: for phones, and for what is wider.
  await see(page.getByRole('banner').getByText('Live', { exact: true }).filter({ visible: true }))
  await mark(page)
  await stagehand('/cut')
  let meanwhile
  try {
    await see(page.getByText(/^Not live for/))
    await see(page.getByRole('banner').getByText('Reconnecting').filter({ visible: true }))
    meanwhile = await rest(adminKey, 'POST', '/api/v1/admin/stops', { scope: 'cluster', cluster_id: world.cluster, reason: 'done behind a cut line' }, { direct: true })
    await until('old data are marked', () => page.evaluate(() => document.documentElement.hasAttribute('data-old')))
    assert.equal(await feed.getByText('done behind a cut line').count(), 0)
    await world.admin.shot('activity-cut')
  } finally {
    await stagehand('/mend')
  }
  await page.getByRole('button', { name: 'Try now' }).click()
  await page.getByText(/^Not live for/).waitFor({ state: 'detached', timeout: 40_000 })
  await see(feed.getByText('done behind a cut line'))
  await see(page.getByRole('button', { name: 'Stopped' }))
  assert.equal(await page.evaluate(() => document.documentElement.hasAttribute('data-old')), false)
  await stayed(page)
  await rest(adminKey, 'POST', `/api/v1/admin/stops/${meanwhile.stop_id}/lift`, { reason: 'over' })
  await see(page.getByRole('button', { name: 'Stop all' }))
})
