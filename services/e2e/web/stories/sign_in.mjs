import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest } from '../stage.mjs'
import { person, see, whyNot, world } from './world.mjs'

test('a wrong key is told plainly, and lets nobody in', async () => {
  const { page } = await person()
  await page.goto('/')
  await page.getByLabel('API key').fill('co_admin_nobody-has-this-one')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await see(page.getByText('This key is unknown'))
  assert.equal(await page.getByRole('navigation', { name: 'Pages' }).count(), 0)
})

test('the admin signs in, signs out, and is out', async () => {
  world.admin = await person(adminKey)
  const { page, context } = world.admin
  const cookies = await context.cookies()
  assert.equal(cookies.length, 1)
  assert.ok(cookies[0].httpOnly && cookies[0].sameSite === 'Strict', `a script may read the session's cookie, or another site use it: ${cookies[0].sameSite}`)
  await page.getByRole('button', { name: /^Account/ }).click()
  await page.getByRole('menuitem', { name: 'Sign out' }).click()
  await see(page.getByLabel('API key'))
  await page.goto('/clusters')
  await see(page.getByLabel('API key'))
  await world.admin.signIn(adminKey)
})

test('a viewer is told why they may not stop, connect or change anything', async () => {
  const { secret } = await rest(adminKey, 'POST', '/api/v1/admin/api-keys', { scope: 'viewer', description: 'Somebody who looks' })
  world.viewer = await person(secret)
  const { page } = world.viewer
  assert.match(await whyNot(page, page.getByRole('button', { name: 'Stop all' })), /role \(viewer\) does not allow/)
  await page.goto('/clusters')
  assert.match(await whyNot(page, page.getByRole('button', { name: 'Connect a cluster' }).first()), /role \(viewer\) does not allow/)
  await page.goto('/policies')
  assert.match(await whyNot(page, page.getByRole('button', { name: 'Change' })), /role \(viewer\) does not allow/)
})
