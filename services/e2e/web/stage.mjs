// What every story needs: a browser, people who sign in, the stagehand, REST, and eyes.
import { mkdirSync } from 'node:fs'
import AxeBuilder from '@axe-core/playwright'
import { chromium } from 'playwright-core'

export const url = process.env.CLOUDOPTIM_URL
/** Central itself, past the line that the stagehand cuts. */
export const directURL = process.env.CLOUDOPTIM_DIRECT_URL
export const adminKey = process.env.CLOUDOPTIM_ADMIN_KEY
export const platformKey = process.env.CLOUDOPTIM_PLATFORM_KEY
const shots = new URL('./shots/', import.meta.url).pathname
mkdirSync(shots, { recursive: true })

/** Starts Debian's Chromium. It asks nothing of the world outside this machine. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** Asks the stagehand to do what people and AWS do elsewhere. */
export async function stagehand(path, headers = {}) {
  const answer = await fetch(process.env.CLOUDOPTIM_STAGEHAND + path, { headers })
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`)
  return answer.json()
}

/** Calls REST as a program would; throws what is not 2xx. */
export async function rest(key, method, path, body, { direct = false } = {}) {
  const answer = await fetch((direct ? directURL : url) + path, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}

/** Waits until ask() answers something true, and returns it. */
export async function until(what, ask, seconds = 60) {
  const end = Date.now() + seconds * 1000
  let trouble
  while (Date.now() < end) {
    try {
      const got = await ask()
      if (got) return got
      trouble = undefined
    } catch (error) {
      trouble = error
    }
    await new Promise((wake) => setTimeout(wake, 250))
  }
  throw new Error(`waited ${seconds} s in vain: ${what}${trouble ? ` (${trouble.message})` : ''}`)
}

/** A person with a browser window of their own; errors of their pages are kept. */
export class Person {
  static async at(browser, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, baseURL: url, ...options })
    context.setDefaultTimeout(15_000)
    const page = await context.newPage()
    const person = new Person(context, page)
    page.on('pageerror', (error) => person.errors.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && /Content Security Policy|Uncaught/.test(message.text())) person.errors.push(message.text())
    })
    return person
  }

  errors = []

  constructor(context, page) {
    this.context = context
    this.page = page
  }

  async signIn(key) {
    await this.page.goto('/')
    await this.page.getByLabel('API key').fill(key)
    await this.page.getByRole('button', { name: 'Sign in' }).click()
    await this.page.getByRole('button', { name: /^Account/ }).waitFor()
  }

  /** Keeps what the page shows, for people to look at. */
  shot(name) {
    return this.page.screenshot({ path: `${shots}${name}.png`, animations: 'disabled' })
  }

  /** What axe finds that is serious or worse, in words; by the rules of WCAG A and AA, or those named. */
  async barriers(rules) {
    const axe = new AxeBuilder({ page: this.page })
    const found = await (rules ? axe.withRules(rules) : axe.withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'])).analyze()
    return found.violations
      .filter((v) => v.impact === 'serious' || v.impact === 'critical')
      .map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`)
  }
}
