// What one story leaves to the next: the browser, the people, and the cluster that the first of them connects.
import assert from 'node:assert/strict'
import { launch, Person } from '../stage.mjs'

export const world = { browser: await launch(), people: [] }

/** A person whose pages are watched until the end. */
export async function person(key, options) {
  const someone = await Person.at(world.browser, options)
  world.people.push(someone)
  if (key) await someone.signIn(key)
  return someone
}

/** Marks the page, so that stayed() can tell that what moved did so without a reload. */
export const mark = (page) => page.evaluate(() => (window.marked = true))

export async function stayed(page) {
  assert.equal(await page.evaluate(() => window.marked), true, 'the page was loaded anew')
}

/** A locator that must come into sight. */
export const see = (locator, seconds = 15) => locator.first().waitFor({ timeout: seconds * 1000 })

/** What a button that may not be pressed says about it. */
export async function whyNot(page, button) {
  assert.equal(await button.getAttribute('aria-disabled'), 'true', 'the button can be pressed')
  await button.hover()
  const tip = page.getByRole('tooltip').first()
  await tip.waitFor()
  const text = await tip.innerText()
  return text
}
