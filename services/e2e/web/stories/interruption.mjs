import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, stagehand } from '../stage.mjs'
import { mark, person, see, stayed, world } from './world.mjs'

test('AWS takes a spot node back: the Spot page and Activity show each step without a reload', async () => {
  const { nodes } = await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}/state`)
  const node = nodes.find((each) => each.node_type === 'spot')
  assert.ok(node, 'there is no spot node')
  const { page } = world.admin
  const activity = (await person(adminKey)).page
  await Promise.all([page.goto('/spot?tab=timeline'), activity.goto('/activity')])
  await see(page.getByText('AWS has taken nothing yet'))
  await see(activity.getByRole('region', { name: 'What happened, newest first' }))
  await Promise.all([mark(page), mark(activity)])
  await stagehand(`/interrupt?instance_id=${node.instance_id}`)

  const steps = page.getByRole('list', { name: `Steps of ${node.node_name}` }).getByRole('listitem')
  await see(steps.filter({ hasText: /^Warned/ }))
  await see(activity.getByText(new RegExp(`${node.node_name}|${node.instance_id}`)))
  await see(steps.filter({ hasText: /^Drained/ }), 120)
  await see(steps.filter({ hasText: /^(Replaced|None needed)/ }), 120)
  await see(steps.filter({ hasText: /^Gone/ }).filter({ hasNotText: 'not yet' }), 150)
  await see(page.getByRole('row').filter({ hasText: node.instance_id }).getByText('Gone', { exact: true }))
  await see(activity.getByText(/gone/i))
  await stayed(page)
  await stayed(activity)
  await world.admin.shot('spot-interrupted')
})
