// Times how long the Overview takes from the start of navigation until it can be used, for a person who is signed in
// and whose browser has nothing of it yet. Prints the seconds of each visit and the scripts that the first one loaded.
import { adminKey, launch, Person } from './stage.mjs'

const visits = Number(process.argv[2] ?? 5)
const browser = await launch()
const told = { seconds: [], scripts: [] }
for (let i = 0; i < visits; i++) {
  const { context, page, errors } = await Person.at(browser)
  const entered = await context.request.post('/api/v1/admin/session', { data: { api_key: adminKey } })
  if (!entered.ok()) throw new Error(`signing in: ${entered.status()} ${await entered.text()}`)
  await page.addInitScript(() => {
    // Usable: the main numbers are there, and nothing is grey that will be an answer. Looked at whenever the page changes.
    const look = () => {
      const numbers = document.querySelector('#main dl')?.innerText ?? ''
      const usable = /Spend now\s+\$/.test(numbers) && /Available\s+\$/.test(numbers) && !document.querySelector('.skeleton')
      if (!usable || window.usableAt) return
      requestAnimationFrame(() => (window.usableAt ??= performance.now())) // when it is drawn
    }
    new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true })
  })
  await page.goto('/', { waitUntil: 'commit' })
  await page.waitForFunction(() => window.usableAt)
  told.seconds.push((await page.evaluate(() => window.usableAt)) / 1000)
  if (i === 0)
    told.scripts = await page.evaluate(() =>
      performance
        .getEntriesByType('resource')
        .filter((each) => each.name.endsWith('.js') && each.startTime <= window.usableAt)
        .map((each) => new URL(each.name).pathname),
    )
  if (errors.length > 0) throw new Error(errors.join('\n'))
  await context.close()
}
await browser.close()
console.log(JSON.stringify(told))
