import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, stagehand } from '../stage.mjs'
import { mark, person, see, stayed, world } from './world.mjs'

test('AWS takes a spot node back: the Spot page and Activity show each step without a reload', async () => {
  const node = await foretold()
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
  // What was foretold before, next to what happened: in the timeline, in the table, and as a chart with its own.
  const [event] = await rest(adminKey, 'GET', `/api/v1/admin/spot-events?instance_id=${node.instance_id}`)
  assert.ok(event.foretold, 'nothing was foretold of the node that was taken')
  assert.ok(Math.abs(event.foretold.probability - node.interruption_risk) < 1e-9, `${event.foretold.probability} was foretold, the node's risk was ${node.interruption_risk}`)
  assert.ok(new Date(event.foretold.said_at) < new Date(event.received_at), 'it was said after AWS spoke')
  const said = new RegExp(`^Foretold: ${chance(event.foretold.probability)} within a day`)
  await see(page.getByRole('listitem').filter({ hasText: node.instance_id }).getByText(said))
  const row = page.getByRole('row').filter({ hasText: node.instance_id })
  await see(row.getByText(`${chance(event.foretold.probability)} within a day`))
  await see(row.getByText('Taken', { exact: true }))
  await see(page.getByRole('heading', { name: 'Foretold and what happened' }))
  await see(activity.getByText(/gone/i))
  await stayed(page)
  await stayed(activity)
  await world.admin.shot('spot-interrupted')
})

/** A spot node of which ml has said how likely AWS takes it; a new one has its first word within a minute. */
async function foretold() {
  for (const until = Date.now() + 90_000; Date.now() < until; await new Promise((go) => setTimeout(go, 1000))) {
    const nodes = await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}/nodes?node_type=spot&page_size=1000`)
    const found = nodes.find((each) => typeof each.interruption_risk === 'number')
    if (found) return { ...found.node, interruption_risk: found.interruption_risk }
  }
  return assert.fail('there is no spot node whose risk is known')
}

/** A probability as the pages write it. */
function chance(probability) {
  const size = probability * 100
  return `${size.toFixed(size === 0 || size >= 20 ? 0 : 1)}%`
}
