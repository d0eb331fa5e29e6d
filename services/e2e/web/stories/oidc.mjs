import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminKey, rest, url } from '../stage.mjs'
import { person, see, whyNot } from './world.mjs'

const provider = process.env.CLOUDOPTIM_PROVIDER_URL

/** Goes to the provider and types an e-mail there. */
async function atProvider(page, email, decision = 'Sign in') {
  await page.getByRole('link', { name: 'Continue with Example ID' }).click()
  await page.waitForURL(`${provider}/authorize**`)
  await page.getByLabel('E-mail').fill(email)
  await page.getByRole('button', { name: decision }).click()
}

/** Nobody is signed in, and nothing of the console is there. */
async function signedOut(page) {
  await see(page.getByLabel('API key'))
  assert.equal(await page.getByRole('navigation', { name: 'Pages' }).count(), 0)
  assert.ok(!(await page.content()).includes('Hash chain'))
  assert.equal((await page.request.get('/api/v1/admin/me')).status(), 401)
}

test('a member signs in at the provider, works with the role, signs out, and Back shows nothing of before', async () => {
  await rest(adminKey, 'POST', '/api/v1/admin/members', { email: 'ann@example.com', role: 'operator' })
  const ann = await person()
  const { page, context } = ann
  await page.goto('/audit')
  await see(page.getByRole('link', { name: 'Continue with Example ID' }))
  assert.deepEqual(await ann.barriers(), [])
  await ann.shot('sign-in-provider')
  await atProvider(page, 'Ann@Example.com')
  await page.waitForURL(`${url}/audit`) // where she wanted to go
  await see(page.getByText('Hash chain'))
  const cookies = await context.cookies()
  assert.deepEqual(cookies.map((each) => [each.httpOnly, each.sameSite]), [[true, 'Strict']])

  await page.getByRole('button', { name: /^Account: ann@example\.com/ }).click()
  await see(page.getByText('Operator at Example Ltd'))
  await page.keyboard.press('Escape')
  assert.equal(await page.getByRole('button', { name: 'Stop all' }).getAttribute('aria-disabled'), null)
  await page.goto('/clusters')
  assert.match(await whyNot(page, page.getByRole('button', { name: 'Connect a cluster' }).first()), /role \(operator\) does not allow/)

  await page.getByRole('button', { name: /^Account/ }).click()
  await page.getByRole('menuitem', { name: 'Sign out' }).click()
  await signedOut(page)
  await page.goBack() // to the audit log, as she saw it
  await page.waitForURL(`${url}/audit`)
  await signedOut(page)
  await page.reload()
  await signedOut(page)
})

test('who is no member, says no, or comes back with another sign-in’s answer is told so, and is not in', async () => {
  for (const [name, go, said] of [
    ['not-a-member', (page) => atProvider(page, 'eve@example.com'), /not a member here/],
    ['declined', (page) => atProvider(page, 'ann@example.com', 'Decline'), /declined at your identity provider/],
    ['wrong-state', (page) => page.goto('/auth/oidc/callback?state=made-up&code=x'), /begun in another browser/],
  ]) {
    const somebody = await person()
    const { page } = somebody
    await page.goto('/')
    await see(page.getByLabel('API key'))
    await go(page)
    await page.waitForURL(`${url}/sign-in?error=**`)
    const alert = page.getByRole('alert')
    await see(alert)
    assert.match(await alert.innerText(), said)
    assert.match(await alert.innerText(), /req-/, 'the request’s id, by which the log has the rest')
    await signedOut(page)
    assert.deepEqual(await somebody.barriers(), [])
    await somebody.shot(`sign-in-${name}`)
    // The page leads on: the provider may be tried again.
    await atProvider(page, 'ann@example.com')
    await see(page.getByRole('navigation', { name: 'Pages' }))
    assert.equal(new URL(page.url()).pathname, '/')
  }
})
