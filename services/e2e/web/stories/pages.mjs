import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { adminKey, platformKey, until } from '../stage.mjs'
import { person, see, world } from './world.mjs'

const router = readFileSync(new URL('../../../central/web/src/router.tsx', import.meta.url), 'utf8')

/** Every page and its parts: the route in the router, a name for its picture, and its address. */
const pages = () => [
  ['/', 'overview', '/'],
  ['/clusters', 'clusters', '/clusters'],
  ['/clusters/connect', 'connect', '/clusters/connect'],
  ...['overview', 'nodes', 'map', 'pods', 'events', 'settings'].map((tab) => ['/clusters/$clusterId', `cluster-${tab}`, `/clusters/${world.cluster}?tab=${tab}`]),
  ['/recommendations', 'recommendations', '/recommendations?dry=yes'],
  ...['steps', 'nodes', 'map', 'why'].map((tab) => ['/plans/$planId', `plan-${tab}`, `/plans/${world.plan}?tab=${tab}`]),
  ...['all', 'spot_optimize', 'decisions', 'how'].map((tab) => ['/savings', `savings-${tab}`, `/savings?tab=${tab}`]),
  ['/schedules', 'schedules', '/schedules'],
  ['/schedules', 'schedules-new', '/schedules?id=new'],
  ...['pools', 'prediction', 'timeline'].map((tab) => ['/spot', `spot-${tab}`, `/spot?tab=${tab}`]),
  ['/activity', 'activity', '/activity'],
  ['/policies', 'policies', '/policies'],
  ['/policies', 'policies-cluster', `/policies?cluster=${world.cluster}`],
  ['/policies', 'policies-stops', '/policies?tab=stops'],
  ['/audit', 'audit', '/audit'],
  ...['company', 'members', 'keys', 'about'].map((tab) => ['/settings', `settings-${tab}`, `/settings?tab=${tab}`]),
]

/** What those see who are not signed in, whatever the address. */
const signInPage = [['/sign-in', 'sign-in', '/']]

/** Pages that are the staff's alone, as they see them. */
const staffPages = () => [
  ['/models', 'models', '/models'],
  ['/models', 'models-data', '/models?tab=data'],
  ['/settings', 'settings-customers', '/settings?tab=customers'],
]

test('every page of the router is among those that are looked at', () => {
  const routes = [...router.matchAll(/path: '([^']+)'/g)].map(([, path]) => path)
  assert.ok(routes.length > 5)
  const looked = new Set([...signInPage, ...pages(), ...staffPages()].map(([route]) => route))
  assert.deepEqual(routes.filter((route) => !looked.has(route)), [])
})

for (const theme of ['light', 'dark']) {
  test(`every page in ${theme}: no barrier, no error, and a picture`, async () => {
    const admin = await person(undefined, { colorScheme: theme })
    await admin.page.goto('/')
    await see(admin.page.getByLabel('API key'))
    const faults = await look(admin, signInPage, theme)
    await admin.signIn(adminKey)
    const colleague = await person(adminKey, { colorScheme: theme })
    await world.staff.page.emulateMedia({ colorScheme: theme })
    const all = pages()
    const half = all.length / 2
    const found = await Promise.all([look(admin, all.slice(0, half), theme), look(colleague, all.slice(half), theme), look(world.staff, staffPages(), theme)])
    faults.push(...found.flat())
    assert.deepEqual(faults, [])
  })
}

test('every page on a phone: no wider than the screen, no barrier, and the menu leads on', async () => {
  const phone = { viewport: { width: 360, height: 780 }, hasTouch: true }
  const admin = await person(undefined, phone)
  await admin.page.goto('/')
  await see(admin.page.getByLabel('API key'))
  const faults = await look(admin, signInPage, 'phone')
  await admin.signIn(adminKey)
  const staff = await person(platformKey, phone)
  const found = await Promise.all([look(admin, pages(), 'phone'), look(staff, staffPages(), 'phone')])
  assert.deepEqual([...faults, ...found.flat()], [])

  const { page } = admin
  const menu = page.getByRole('button', { name: 'Menu' })
  await menu.click()
  const drawer = page.getByRole('dialog')
  await see(drawer.getByRole('link', { name: 'Savings' }))
  assert.deepEqual(await admin.barriers(), [])
  await admin.shot('menu-phone')
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press('Tab')
    assert.ok(await page.evaluate(() => Boolean(document.activeElement?.closest('[role=dialog]'))), 'the focus left the menu')
  }
  await page.keyboard.press('Escape')
  await drawer.waitFor({ state: 'detached', timeout: 2000 })
  await until('the focus is on the menu’s button', () => menu.evaluate((each) => each === document.activeElement), 2)
  await menu.click()
  await drawer.getByRole('link', { name: 'Savings' }).click()
  await page.waitForURL('**/savings*')
  await drawer.waitFor({ state: 'detached', timeout: 2000 })

  for (const [address, opener] of [['/', 'Stop all'], [`/clusters/${world.cluster}`, 'Make a plan'], ['/settings?tab=keys', 'Make a key']]) {
    await page.goto(address)
    await page.getByRole('button', { name: opener }).first().click()
    const box = await page.getByRole('dialog').boundingBox()
    assert.ok(box.x >= 0 && box.x + box.width <= 360 && box.y >= 0 && box.y + box.height <= 780, `${opener} does not fit: ${JSON.stringify(box)}`)
    assert.deepEqual(await admin.barriers(), [])
  }
})

/** What of the page is wider than the screen and does not scroll within itself. */
const tooWide = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement
    const wide = scrollWidth > clientWidth ? [`the document by ${scrollWidth - clientWidth}`] : []
    const main = document.querySelector('#main')
    if (main && main.scrollWidth > main.clientWidth) wide.push(`the page by ${main.scrollWidth - main.clientWidth}`)
    return wide
  })

async function look(someone, list, theme) {
  const { page } = someone
  const faults = []
  for (const [, name, address] of list) {
    await page.goto(address)
    await settled(page)
    if (theme === 'phone') faults.push(...(await tooWide(page)).map((each) => `${name}: wider than the screen: ${each}`))
    else assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme)
    await someone.shot(`${name}-${theme}`)
    faults.push(...(await someone.barriers(theme === 'dark' ? ['color-contrast'] : undefined)).map((barrier) => `${name}: ${barrier}`))
    const title = await page.title()
    if (!/CloudOptim/.test(title) || /not found|crashed/i.test(title)) faults.push(`${name}: its title is ${title}`)
    for (const trouble of await page.getByRole('alert').allInnerTexts()) faults.push(`${name}: says ${trouble}`)
  }
  faults.push(...someone.errors.map((error) => `on a page: ${error}`))
  return faults
}

/** Waits until the page shows what it has: its heading, no grey lines, no wheels. */
async function settled(page) {
  await see(page.getByRole('heading', { level: 1 }))
  await page.waitForFunction(() => !document.querySelector('.skeleton, [aria-busy=true]'))
  await page.evaluate(() => document.fonts.ready)
  await page.waitForFunction(() => document.getAnimations().every((each) => each.playState !== 'running' || each.effect?.getTiming().iterations === Infinity))
}
