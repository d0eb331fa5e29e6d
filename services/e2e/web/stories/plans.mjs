import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, until } from '../stage.mjs'
import { mark, see, stayed, whyNot, world } from './world.mjs'

/** Asks for a plan on the cluster's page, and ends on the plan's. */
async function ask(page, engine) {
  await page.goto(`/clusters/${world.cluster}`)
  await page.getByRole('button', { name: 'Make a plan' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('What for').selectOption(engine)
  await dialog.getByLabel('Dry run').uncheck()
  await dialog.getByLabel(/^Reason/).fill('told by a story')
  await dialog.getByRole('button', { name: 'Make the plan' }).click()
  await page.waitForURL(/\/plans\//)
  return page.url().match(/plans\/([0-9a-f-]+)/)[1]
}

const read = (id) => rest(adminKey, 'GET', `/api/v1/admin/optimizations/${id}`)
const nodes = (plan, status) => plan.nodes.filter((node) => node.status === status).map((node) => node.node_name)
const badge = (page, text) => page.locator('header').getByText(text, { exact: true })

test('a plan is snoozed and then rejected, each with its reason', async () => {
  const { page } = world.admin
  const id = await ask(page, 'bin_pack')
  await page.getByRole('button', { name: 'Snooze' }).click()
  await page.getByRole('dialog').getByLabel('For').selectOption('4')
  assert.match(await whyNot(page, page.getByRole('dialog').getByRole('button', { name: 'Snooze' })), /Say why first/)
  await page.getByRole('dialog').getByLabel('Reason').fill('not during the sale')
  await page.getByRole('dialog').getByRole('button', { name: 'Snooze' }).click()
  await see(badge(page, 'Snoozed'))
  await see(page.getByText('not during the sale'))
  await page.getByRole('button', { name: 'Reject' }).click()
  await page.getByRole('dialog').getByLabel('Reason').fill('these nodes stay')
  await page.getByRole('dialog').getByRole('button', { name: 'Reject' }).click()
  await see(badge(page, 'Rejected'))
  const plan = await read(id)
  assert.equal(plan.decision_reason, 'these nodes stay')
  assert.deepEqual(nodes(plan, 'draining'), [])
})

test('a plan awaits approval with what it touches, which a viewer may see and not do', async () => {
  const { page } = world.admin
  world.plan = await ask(page, 'spot_optimize')
  await see(page.getByRole('button', { name: 'Approve' }), 60)
  await see(badge(page, 'Waiting for approval'))
  await see(page.getByText(/drains \d+ nodes?/i))
  for (const row of ['Nodes', 'Cost', 'Of which spot']) await see(page.locator('p').filter({ hasText: row }).getByLabel('to'))
  await world.admin.shot('plan-awaits')
  const looker = world.viewer.page
  await looker.goto(`/plans/${world.plan}`)
  assert.match(await whyNot(looker, looker.getByRole('button', { name: 'Approve' })), /role \(viewer\) does not allow/)
  world.map = await boughtOnTheMap(page)
  await see(page.getByText(/scheduler is expected to do/))
  await page.goto('/recommendations?approval=awaiting')
  await page.getByRole('row').filter({ hasText: 'Spot mix' }).first().click()
  await page.waitForURL(`**/plans/${world.plan}`)
})

test('approved, its steps move on the screen; a stop halts the drains; lifted, it completes', async (t) => {
  const { page } = world.admin
  await mark(page)
  await page.getByRole('button', { name: 'Approve' }).click()
  const dialog = page.getByRole('dialog')
  await see(dialog.getByText(/drains \d+ nodes?/i))
  const typed = dialog.getByLabel(/^Type/)
  if (await typed.count()) await typed.fill(world.name)
  await dialog.getByLabel(/^Reason/).fill('looks good')
  await world.admin.shot('plan-approve')
  await dialog.getByRole('button', { name: 'Approve' }).click()
  await see(badge(page, 'Running'))
  await see(page.getByRole('list').getByText('Draining'), 90)
  await world.admin.shot('plan-draining')

  await page.getByRole('button', { name: 'Stop all' }).click()
  const stop = page.getByRole('dialog')
  await see(stop.getByText(/Holds in 1 cluster with \d+ nodes/))
  await stop.getByLabel('Reason').fill('an incident')
  await stop.getByRole('button', { name: 'Stop now' }).click()
  await see(page.getByRole('button', { name: 'Stopped' }))
  await see(page.getByRole('status').filter({ hasText: /stop/i }))
  const held = await until('a plan that waits for the stop, with no drain under way', async () => {
    const plan = await read(world.plan)
    return plan.waiting_for?.code === 'stop' && nodes(plan, 'draining').length === 0 && plan
  })
  assert.equal(held.status, 'executing')
  assert.ok(nodes(held, 'pending').length > 0, 'the stop came when everything was drained')
  await reported(2) // within a heartbeat the agent has heard of it too
  const before = await pods()
  await reported(4)
  const after = await pods()
  assert.ok(before.size > 0)
  for (const [name, node] of before) assert.equal(after.get(name), node, `${name} was moved while the stop held`)
  assert.deepEqual(nodes(await read(world.plan), 'draining'), [])
  await stayed(page)
  await world.admin.shot('plan-stopped')
  t.diagnostic(`stopped with ${nodes(held, 'pending').length} of ${held.nodes.length} nodes left`)

  await page.getByRole('button', { name: 'Stopped' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Lift' }).click()
  await page.getByRole('dialog').last().getByRole('button', { name: 'Lift the stop' }).click()
  await see(page.getByRole('button', { name: 'Stop all' }))
  await see(badge(page, 'Completed'), 180)
  await see(page.getByText('Came of it'))
  await stayed(page)
  await world.admin.shot('plan-completed')
})

test('the map of the plan that is over shows before and after as they were planned', async () => {
  const { page } = world.admin
  const bought = await boughtOnTheMap(page)
  await see(page.getByText(/^As it was planned/))
  assert.deepEqual(bought.map(([name]) => name), world.map.map(([name]) => name))
  const kept = await rest(adminKey, 'GET', `/api/v1/admin/optimizations/${world.plan}/map`)
  assert.equal(kept.before.filter((node) => node.fate === 'goes').length, (await read(world.plan)).plan.nodes_drained)
  assert.ok(kept.after.every((node) => node.fate !== 'goes'))
  await world.admin.shot('plan-map-over')
})

test('the savings page shows what came of it', async () => {
  const { page } = world.admin
  const row = page.getByRole('row').filter({ hasText: 'Spot mix' })
  await until('the plan is metered, which is done each minute', async () => {
    await page.goto('/savings?tab=decisions')
    await see(page.getByText(/^(Spot mix in|No plan has been carried out yet)/).or(row), 5)
    return (await row.count()) > 0
  }, 100)
  await see(row.getByText(/\$[\d,.]+/))
  await see(row.getByText('Still saves'))
  await page.goto('/')
  await see(page.getByText('Saving now'))
})

/** The nodes that the plan buys, as its map's table has them: each with how full it is expected to be. */
async function boughtOnTheMap(page) {
  await page.goto(`/plans/${world.plan}?tab=map`)
  const after = page.getByRole('figure').filter({ hasText: /^After/ })
  await after.getByRole('button', { name: 'Table' }).click()
  const rows = after.getByRole('row').filter({ hasText: 'cloudoptim-new-' })
  await see(rows)
  const bought = (await rows.allInnerTexts()).map((text) => text.split(/[\t\n]+/))
  const full = (cells) => cells.find((cell) => /^\d+(\.\d)?%$/.test(cell))
  for (const cells of bought) assert.ok(full(cells), `how full a node will be is not said: ${cells}`)
  // One may be bought for the case that the scheduler puts pods otherwise.
  assert.ok(bought.filter((cells) => full(cells) !== '0%').length > bought.length / 2, `nodes that are bought are empty: ${bought.join('; ')}`)
  return bought
}

/** Running pods by name, and their nodes, as central knows them. */
async function pods() {
  const all = await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}/pods?page_size=1000`)
  return new Map(all.filter((pod) => pod.phase === 'Running' && !pod.terminating).map((pod) => [`${pod.namespace}/${pod.name}`, pod.node_name]))
}

/** Waits until the agent has reported so many times more. */
async function reported(times) {
  const seen = new Set()
  await until(`${times} reports of the agent`, async () => {
    const { cluster } = await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}`)
    return seen.add(cluster.last_seen_at).size > times
  })
}
