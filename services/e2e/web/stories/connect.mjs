import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, stagehand } from '../stage.mjs'
import { mark, see, stayed, world } from './world.mjs'

test('a cluster is connected, and the first estimate appears by itself', async () => {
  const { page } = world.admin
  const { cluster_name, region } = await stagehand('/launch')
  await page.goto('/')
  await see(page.getByText('No cluster is connected'))
  await world.admin.shot('overview-empty')
  await page.getByRole('link', { name: 'Connect a cluster' }).click()
  await page.getByLabel('Name').fill(cluster_name)
  await page.getByLabel('AWS region').fill(region)
  await page.getByRole('button', { name: 'Create and show the key' }).click()

  const key = await page.getByLabel('Agent key').innerText()
  world.name = cluster_name
  world.cluster = new URL(page.url()).searchParams.get('id')
  const shells = page.locator('pre[aria-label=Shell]')
  await see(shells)
  const commands = (await shells.allInnerTexts()).join('\n')
  assert.match(commands, /helm upgrade --install/)
  assert.match(commands, /aws cloudformation/)
  assert.ok(commands.includes(world.cluster) && !commands.includes(key), 'the command names the cluster, and not the key')
  await see(page.getByText(`Waiting for the first word of ${cluster_name}’s agent.`))
  assert.deepEqual(await world.admin.barriers(), [])
  await world.admin.shot('connect-waiting')

  await mark(page)
  const began = Date.now()
  await stagehand(`/connect?cluster_id=${world.cluster}`, { 'X-Agent-Key': key })
  await see(page.getByText(`The agent of ${cluster_name} is connected`), 60)
  await see(page.getByText(/^\$[\d,.]+ a month$/), 60)
  assert.ok(Date.now() - began < 60_000, 'the first estimate took longer than a minute')
  await stayed(page)
  assert.deepEqual(await world.admin.barriers(), [])
  await world.admin.shot('connect-estimate')
  await page.reload()
  await see(page.getByText(`The agent of ${cluster_name} is connected`))
  assert.ok(!(await page.content()).includes(key), 'the key was shown twice')
  assert.equal((await rest(adminKey, 'GET', `/api/v1/admin/policies/effective?cluster_id=${world.cluster}`)).values.mode, 'read_only')
})

test('how nodes are launched is set on the page of the cluster', async () => {
  const { page } = world.admin
  const { launch_template_id, subnet_ids } = await stagehand('/launch')
  await page.goto(`/clusters/${world.cluster}?tab=settings`)
  await page.getByLabel('CloudOptim may launch nodes').check()
  await page.getByRole('textbox', { name: 'Launch template' }).fill(launch_template_id)
  for (const [i, [zone, subnet]] of Object.entries(subnet_ids).entries()) {
    if (i > 0) await page.getByRole('button', { name: 'Add a zone' }).click()
    await page.getByLabel(`Zone ${i + 1}`, { exact: true }).fill(zone)
    await page.getByLabel(`Subnet ${i + 1}`, { exact: true }).fill(subnet)
  }
  await page.getByRole('button', { name: 'Save' }).click()
  await see(page.getByText('Saved.'))
  const { launch } = await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}`)
  assert.deepEqual(launch.subnet_ids, subnet_ids)
})

test('the mode is raised to approve, and the page says where it is from', async () => {
  const { page } = world.admin
  // Nothing is planned but what is asked for, and two nodes at a time, so that a stop finds some left.
  const quiet = { engines: {}, budgets: { budgets: [{ nodes: '2' }] } }
  await rest(adminKey, 'PUT', '/api/v1/admin/policies', { cluster_id: world.cluster, values: quiet })
  await page.goto(`/policies?cluster=${world.cluster}`)
  await page.getByRole('button', { name: 'Change' }).click()
  const mode = page.getByRole('region', { name: 'Mode' })
  await mode.getByRole('button', { name: 'Set here' }).click()
  await mode.getByRole('button', { name: /Approve each/ }).click()
  await see(page.getByText('What saving changes'))
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  const dialog = page.getByRole('dialog')
  await see(dialog.getByText(/Reaches 1 cluster with \d+ nodes/))
  await dialog.getByRole('button', { name: 'Save' }).click()
  await see(page.getByRole('listitem').filter({ hasText: 'Approve each' }).getByText('holds'))
  await see(page.getByRole('row', { name: /^Mode/ }).getByText('Set here'))
  const effective = await rest(adminKey, 'GET', `/api/v1/admin/policies/effective?cluster_id=${world.cluster}`)
  assert.equal(effective.values.mode, 'approve')
  assert.equal(effective.sources.mode.scope, 'cluster')
})
