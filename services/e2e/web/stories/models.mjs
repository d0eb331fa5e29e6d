import assert from 'node:assert/strict'
import { test } from 'node:test'
import { platformKey, rest } from '../stage.mjs'
import { person, see, whyNot, world } from './world.mjs'

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

test('gaps in the data are found and explained, and filled where a rule allows', async () => {
  const { page } = world.staff
  await page.goto('/models?tab=data&days=7')
  await page.getByRole('button', { name: 'Look for gaps' }).click()
  await see(page.getByText('Day by day'), 60)
  await page.getByRole('button', { name: 'Table' }).click()
  const gaps = page.getByRole('table', { name: 'Gaps' }).getByRole('row')
  await see(gaps.filter({ hasText: 'cluster_metrics' }).getByText(/not exist|did not/i)) // the days before the cluster came
  const fill = page.getByRole('button', { name: 'Fill', exact: true })
  const { gaps_fillable } = await rest(platformKey, 'POST', '/api/v1/admin/gap-filler/analyze', { lookback_days: 7, model_training_date: new Date().toISOString() })
  if (gaps_fillable === 0) {
    // A lab of a few minutes seldom has a hole that a rule may fill; the page says so and fills nothing.
    assert.match(await whyNot(page, fill), /None of them can be filled/)
    return
  }
  await fill.click()
  const dialog = page.getByRole('dialog')
  await see(dialog.getByText(/Writes rows for up to [\d,]+ gaps?/))
  await dialog.getByRole('button', { name: 'Fill' }).click()
  await see(page.getByRole('status').filter({ hasText: /[\d,]+ gaps? filled with [\d,]+ rows?/ }), 60)
})
