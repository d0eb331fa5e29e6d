// The stories of the admin UI, in this order: each begins where the one before has ended.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import './stories/sign_in.mjs'
import './stories/oidc.mjs'
import './stories/connect.mjs'
import './stories/plans.mjs'
import './stories/schedules.mjs'
import './stories/interruption.mjs'
import './stories/models.mjs'
import './stories/line.mjs'
import './stories/freeze.mjs'
import './stories/hands.mjs'
import './stories/pages.mjs'
import { world } from './stories/world.mjs'

test('no page threw, and none broke the policy of what it may load', () => {
  assert.deepEqual(world.people.flatMap((person) => person.errors), [])
})

after(async () => {
  await world.browser.close()
})
