import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, until } from '../stage.mjs'
import { see, world } from './world.mjs'

const utc = (at) => `${at.toISOString().slice(0, 19).replace('T', ' ')} UTC`
const inDays = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10)

test('plans are frozen until a date on the Policies page, and that is said where they wait', async () => {
  const { page } = world.admin
  const { values: before } = await rest(adminKey, 'GET', `/api/v1/admin/policies/effective?cluster_id=${world.cluster}`)
  await page.goto(`/policies?cluster=${world.cluster}`)
  await page.getByRole('button', { name: 'Change' }).click()
  const windows = page.getByRole('region', { name: 'Windows' })
  await windows.getByRole('button', { name: 'Set here' }).click()
  await windows.getByRole('button', { name: 'Freeze until a date' }).click()
  await windows.getByLabel('Last day of freeze 1').fill(inDays(3))
  await see(windows.getByText(/^Frozen until .+\(.+ UTC\)$/))
  await windows.getByLabel('Reason of window 1').fill('the year’s end')
  await world.admin.shot('policies-freeze')
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  const { values, sources, disruption_allowed, changes_at } = await until('the freeze holds', async () => {
    const now = await rest(adminKey, 'GET', `/api/v1/admin/policies/effective?cluster_id=${world.cluster}`)
    return now.values.windows?.windows.length > 0 && now
  })
  assert.equal(values.windows.windows[0].during.last_date, inDays(3))
  assert.equal(sources.windows.scope, 'cluster')
  assert.equal(disruption_allowed, false)

  const said = page.getByRole('status').filter({ hasText: 'Frozen until' })
  await see(page.getByRole('row', { name: /^Windows/ }).getByText('Set here'))
  for (const address of [`/policies?cluster=${world.cluster}`, `/recommendations?cluster=${world.cluster}`, `/clusters/${world.cluster}`]) {
    await page.goto(address)
    await see(said)
    const text = await said.first().innerText()
    // What the page works out by itself is what central says.
    assert.ok(text.includes(utc(new Date(changes_at))), `${address} says “${text}”, and central until ${changes_at}`)
    assert.ok(text.includes('the year’s end'), text)
  }
  assert.deepEqual(await world.admin.barriers(), [])
  await rest(adminKey, 'PUT', '/api/v1/admin/policies', { cluster_id: world.cluster, values: { ...before, windows: undefined } })
  await page.goto(`/clusters/${world.cluster}`)
  await see(page.getByText('What may be done'))
  await said.first().waitFor({ state: 'detached' })
})

test('a schedule is frozen until a time: it is kept, told, and ended', async () => {
  const { page } = world.admin
  const { schedule_id } = await rest(adminKey, 'POST', '/api/v1/admin/schedules', {
    cluster_id: world.cluster, name: 'Frozen nights', lead_minutes: 0, enabled: true, scope: { namespaces: ['there-is-none'] },
    calendar: { time_zone: 'UTC', open: [{ days: ['mon-sun'], from: '00:00', to: '24:00' }] },
  })
  const kept = async () => (await rest(adminKey, 'GET', '/api/v1/admin/schedules')).find((each) => each.schedule_id === schedule_id)
  const at = `${inDays(2)}T10:30`
  await page.goto(`/schedules?id=${schedule_id}`)
  await page.getByLabel('Frozen until').fill(at)
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  const notice = page.getByRole('status').filter({ hasText: 'Frozen until' })
  await see(notice)
  const local = await page.evaluate((typed) => new Date(typed).toISOString(), at)
  assert.equal(new Date((await kept()).calendar.freeze_until).toISOString(), local)
  assert.ok((await notice.innerText()).includes(utc(new Date(local))))
  assert.deepEqual(await world.admin.barriers(), [])
  await world.admin.shot('schedule-frozen')
  await page.goto('/schedules')
  await see(page.getByRole('row').filter({ hasText: 'Frozen nights' }).getByText('Frozen until'))
  await page.goto(`/schedules?id=${schedule_id}`)
  await page.getByRole('button', { name: 'End the freeze' }).click()
  await page.getByRole('button', { name: 'Save', exact: true }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await until('the freeze has ended', async () => !(await kept()).calendar.freeze_until)
  await notice.waitFor({ state: 'detached' })
  await rest(adminKey, 'DELETE', `/api/v1/admin/schedules/${schedule_id}`)
})
