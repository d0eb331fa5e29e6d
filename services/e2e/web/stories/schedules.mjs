import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest } from '../stage.mjs'
import { mark, person, see, stayed, world } from './world.mjs'

test('what a colleague does to a schedule, and what it does itself, shows on the pages without a reload', async () => {
  const { page } = world.admin
  const activity = (await person(adminKey)).page
  await Promise.all([page.goto('/schedules'), activity.goto('/activity?kind=schedules')])
  await see(page.getByText('No schedules yet'))
  await see(activity.getByRole('heading', { name: 'Activity' }))
  await Promise.all([mark(page), mark(activity)])

  // A namespace that is not there: it can fall asleep and wake, and nothing is scaled. Asleep now, whenever that is.
  const date = new Date()
  const day = (days) => new Date(date.getTime() + days * 86_400_000).toISOString().slice(0, 10)
  const calendar = {
    time_zone: 'UTC',
    open: [{ days: ['mon-sun'], from: '00:00', to: '24:00' }],
    exceptions: [{ first_date: day(-2), last_date: day(2), state: 'asleep' }],
  }
  const made = await rest(adminKey, 'POST', '/api/v1/admin/schedules', {
    cluster_id: world.cluster, name: 'quiet', calendar, scope: { namespaces: ['nobody-here'] }, enabled: false,
  })
  const row = page.getByRole('row').filter({ hasText: 'quiet' })
  await see(row.getByText('Disabled', { exact: true }))
  await see(activity.getByText('Schedule quiet was made'))

  const enabled = await rest(adminKey, 'PUT', `/api/v1/admin/schedules/${made.schedule_id}`, { ...made, enabled: true })
  await see(activity.getByText('Schedule quiet was enabled'))
  await see(row.getByText('Asleep', { exact: true }), 60)
  await see(activity.getByText(/^Schedule quiet put 0 workloads to sleep/))

  await rest(adminKey, 'POST', `/api/v1/admin/schedules/${enabled.schedule_id}/wake`, { until: new Date(Date.now() + 3_600_000).toISOString(), reason: 'a demo' })
  await see(row.getByText('Awake', { exact: true }), 60)
  await see(activity.getByText(/^Schedule quiet stays awake until /))
  await see(activity.getByText(/^Schedule quiet woke 0 workloads/))

  await rest(adminKey, 'DELETE', `/api/v1/admin/schedules/${made.schedule_id}`)
  await see(page.getByText('No schedules yet'))
  await see(activity.getByText('Schedule quiet was deleted'))
  await stayed(page)
  await stayed(activity)
  const told = await rest(adminKey, 'GET', '/api/v1/admin/activity?types=schedule')
  assert.ok(told.every((each) => each.subject === made.schedule_id && each.cluster_id === world.cluster), 'news is about another schedule')
})
