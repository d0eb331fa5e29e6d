import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, platformKey, rest, stagehand, until } from '../stage.mjs'
import { person, see, world } from './world.mjs'

/** A small forest in our own format, whose one tree splits by the pool's place in the Spot Advisor. */
function forest({ left = -1, right = -2, notes = {} } = {}) {
  return JSON.stringify({
    format: 'cloudoptim', version: 1, objective: 'binary', sigmoid: 1, precision: 'float64', base_margin: -4,
    features: ['advisor_bucket'], metrics: { auc: 0.81 }, notes,
    trees: [{
      nodes: [{ feature: 0, op: '<=', threshold: 1.5, missing: 'nan', default_left: true, left, right }],
      leaves: [{ value: -0.5 }, { value: 0.7 }],
    }],
  })
}

/** Uploads a file in the dialog and leaves the report in sight. */
async function upload(page, name, text) {
  await page.getByRole('button', { name: 'Upload a model' }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Model file').setInputFiles({ name: `${name}.json`, mimeType: 'application/json', buffer: Buffer.from(text) })
  await dialog.getByLabel('Format').selectOption('cloudoptim')
  await dialog.getByRole('button', { name: 'Upload and check' }).click()
  return dialog
}

const model = (page, name) => page.getByRole('row').filter({ hasText: name })

async function act(page, button, done) {
  await button.click()
  await page.getByRole('dialog').getByRole('button', { name: done, exact: true }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
}

test('a good model is uploaded with its report, hostile ones are refused with the reason', async () => {
  world.staff = await person(platformKey)
  // Meanwhile the agent's node hangs: longer than a few reports, shorter than central's patience with a cluster.
  world.silence = stagehand('/silence?seconds=75')
  world.silence.catch(() => {}) // told where it is waited for
  const { page } = world.staff
  await page.goto('/models')
  const good = await upload(page, 'first', forest())
  await see(good.getByText('It is kept'))
  await see(good.getByText('Its check passed: it can be used'))
  await world.staff.shot('models-good')
  await good.getByRole('button', { name: 'Done' }).click()
  for (const [name, text, reason] of [
    ['truncated', forest().slice(0, 300), /end|EOF|truncated|incomplete/i],
    ['cyclic', forest({ left: 0 }), /node 0|cycle|reached|root/i],
    ['nowhere', forest({ left: 77 }), /77/],
  ]) {
    const dialog = await upload(page, name, text)
    await see(dialog.getByText('Refused'))
    assert.match(await dialog.getByRole('alert').innerText(), reason, name)
    await world.staff.shot(`models-${name}`)
    await dialog.getByRole('button', { name: 'Done' }).click()
    assert.equal(await model(page, name).count(), 0, `${name} is kept`)
  }
})

test('a model is promoted, another one shadows it, is promoted, and is rolled back', async () => {
  const { page } = world.staff
  await act(page, model(page, 'first').getByRole('button', { name: 'Promote' }), 'Promote')
  await see(model(page, 'first').getByText('Live', { exact: true }))
  const second = await upload(page, 'second', forest({ notes: { trained_at: 'later' } }))
  await see(second.getByText('It is kept'))
  await second.getByRole('button', { name: 'Done' }).click()
  await act(page, model(page, 'second').getByRole('button', { name: 'Shadow' }), 'Shadow')
  await see(model(page, 'second').getByText('Shadow', { exact: true }))
  await act(page, model(page, 'second').getByRole('button', { name: 'Promote' }), 'Promote')
  await see(model(page, 'second').getByText('Live', { exact: true }))
  await see(model(page, 'first').getByText('Retired', { exact: true }))
  await act(page, page.getByRole('button', { name: 'Roll back' }), 'Roll back')
  await see(model(page, 'first').getByText('Live', { exact: true }))
  await see(model(page, 'second').getByText('Retired', { exact: true }))
})

test('the agent was silent: the gap is found and explained, filled by a rule, and filled once', async () => {
  const { page } = world.staff
  await world.silence // since the first of these stories
  const last = await seen()
  await until('a report after the silence', async () => (await seen()) > last)
  await page.goto(`/models?tab=data&days=7`)
  await page.getByRole('button', { name: 'Look for gaps' }).click()
  await see(page.getByText('Day by day'), 60)
  const series = `cluster_metrics/${world.cluster}`
  const today = new Date().toISOString().slice(0, 10)
  const calendar = page.getByRole('region', { name: 'Gap calendar, scrolls' }).getByRole('row').filter({ hasText: series })
  await see(calendar.getByText(new RegExp(`${today}: .*can be filled`)))
  await world.staff.shot('gaps-found')
  await page.getByRole('button', { name: 'Table' }).click()
  const gaps = page.getByRole('table', { name: 'Gaps' }).getByRole('row').filter({ hasText: series })
  await see(gaps.getByText(/not exist|did not/i)) // the days before the cluster came
  await see(gaps.getByText('Line between both ends'))

  const [asked] = await Promise.all([
    page.waitForRequest((each) => each.url().endsWith('/gap-filler/fill')),
    (async () => {
      await page.getByRole('button', { name: 'Fill', exact: true }).click()
      const dialog = page.getByRole('dialog')
      await see(dialog.getByText(/Writes rows for up to [\d,]+ gaps?/))
      await dialog.getByRole('button', { name: 'Fill' }).click()
    })(),
  ])
  const told = page.getByRole('status').filter({ hasText: /[\d,]+ gaps? filled with [\d,]+ rows?/ })
  await see(told, 60)
  const [, filled, records, run] = (await told.innerText()).match(/(\d+) gaps? filled with (\d+) rows?, run ([0-9a-f]{8})/)
  const rows = await stagehand(`/imputed?cluster_id=${world.cluster}`)
  assert.equal(rows.length, Number(records))
  assert.ok(Number(filled) > 0 && rows.some((row) => row.method === 'linear'), JSON.stringify(rows))
  for (const row of rows) assert.ok(row.run_id.startsWith(run) && ['linear', 'last_value'].includes(row.method), JSON.stringify(row))
  // Told again with what was asked, there is nothing left; and the rows are as they were.
  const again = await rest(platformKey, 'POST', '/api/v1/admin/gap-filler/fill', asked.postDataJSON())
  assert.deepEqual([again.gaps_filled, again.records, again.complete], [0, 0, true])
  assert.deepEqual(await stagehand(`/imputed?cluster_id=${world.cluster}`), rows)
  await gaps.getByText('Line between both ends').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Calendar' }).click()
  await see(calendar)
  await world.staff.shot('gaps-filled')
})

const seen = async () => (await rest(adminKey, 'GET', `/api/v1/admin/clusters/${world.cluster}`)).cluster.last_seen_at
