import { mkdirSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { findChromium, launchChromium } from '../tests/console/support/chromium.ts'
import { DESKTOP, goto, openPerson, PHONE, SCREENSHOTS, signIn } from '../tests/console/support/console.ts'
import { startTestStack } from '../tests/support/stack.ts'
import { EXAMPLE_OWNER, fillExampleTenant } from './support/console-example.ts'

// `npm run screenshots:console [part of a file's name...]`: every screen, light and dark, on a desktop and a phone, from
// a stack of its own that is filled with an example. Written to web/screenshots, which git ignores. Ends with 1 when a
// window has done something wrong.

const DEVICES = { desktop: { viewport: DESKTOP }, phone: { viewport: PHONE, hasTouch: true, isMobile: true } } as const
type Viewport = { viewport: { width: number; height: number } }
/** In CSS pixels; what is longer is cut off. */
const TALLEST = 2_400
const THEMES = ['light', 'dark'] as const

/** Screens behind the first one that no entry of the navigation leads to; `open` goes on from `hash`. */
const BEHIND: { name: string; hash: string; open: (page: Page) => Promise<void> }[] = [
  {
    name: 'document',
    hash: '#/documents',
    open: (page) => page.getByRole('link', { name: 'multi-agent-conversation.pdf' }).first().click(),
  },
  {
    name: 'search-results',
    hash: '#/search',
    async open(page) {
      await page.getByRole('searchbox').first().fill('dialog with humans')
      await page.keyboard.press('Enter')
    },
  },
  {
    name: 'conversation',
    hash: '#/chat',
    async open(page) {
      // On a phone the list of conversations is a dialog.
      const list = page.getByRole('button', { name: 'Conversations' })
      const first = page.getByRole('link', { name: /LLM agents/ }).first()
      await list.or(first).first().waitFor()
      if (await list.isVisible()) await list.click()
      await first.click()
      await page
        .getByRole('heading', { name: 'Sources' })
        .or(page.getByText('Sources', { exact: true }))
        .first()
        .waitFor()
    },
  },
  {
    name: 'document-access',
    hash: '#/access',
    open: (page) => page.getByRole('button', { name: 'multi-agent-conversation.pdf' }).click(),
  },
  {
    name: 'run',
    hash: '#/runs',
    open: (page) => page.getByRole('table').getByRole('link').first().click(),
  },
]

/** Waits until nothing has changed for a moment, or for long enough: a live screen never quite rests. */
const settle = (page: Page): Promise<void> =>
  page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const done = () => {
          observer.disconnect()
          resolve()
        }
        let timer = setTimeout(done, 700)
        const observer = new MutationObserver(() => {
          clearTimeout(timer)
          timer = setTimeout(done, 700)
        })
        observer.observe(document, { subtree: true, childList: true, characterData: true })
        setTimeout(done, 6_000)
      }),
  )

/** A window as tall as what is in it: on a picture of the whole page, what sticks to an edge would stand in the middle. */
const wholeHeight = (page: Page, least: number): Promise<number> =>
  page.evaluate(([from, to]) => Math.min(Math.max(document.documentElement.scrollHeight, from), to), [
    least,
    TALLEST,
  ] as const)

const executable = findChromium()
if (!executable) {
  console.error('There is no Chromium: install Debian’s package `chromium`, or name one in CHROMIUM_PATH.')
  process.exit(1)
}
const wanted = process.argv.slice(2)
mkdirSync(SCREENSHOTS, { recursive: true })
const stack = await startTestStack({ functions: true, worker: true, console: true })
const browser = await launchChromium(executable)
let problems = 0
let written = 0
try {
  const problem = await stack.stack.console?.ready()
  if (problem) throw new Error(problem)
  await fillExampleTenant(await stack.signIn(EXAMPLE_OWNER), stack.url)

  for (const [device, deviceOptions] of Object.entries(DEVICES)) {
    for (const theme of THEMES) await shootAll(`${theme}-${device}`, { colorScheme: theme, ...deviceOptions })
  }
} finally {
  await browser.close()
  await stack.stop()
}
console.log(`${written} files in ${path.relative(process.cwd(), SCREENSHOTS)}, ${problems} problems`)
process.exitCode = problems === 0 ? 0 : 1

async function shootAll(variant: string, options: BrowserContextOptions & Viewport): Promise<void> {
  const { viewport } = options
  const person = await openPerson(browser, stack.url, options)
  const { page } = person
  const shoot = async (screen: string, arrive: () => Promise<unknown>) => {
    const file = `${screen}-${variant}.png`
    if (wanted.length > 0 && !wanted.some((part) => file.includes(part))) return
    try {
      await arrive()
      await settle(page)
      await page.setViewportSize({ ...viewport, height: await wholeHeight(page, viewport.height) })
      await page.screenshot({ path: path.join(SCREENSHOTS, file) })
      await page.setViewportSize(viewport)
      written++
    } catch (error) {
      problems++
      console.error(`${file}: ${(error as Error).message.split('\n')[0]}`)
    }
  }
  try {
    await shoot('sign-in', () => page.getByRole('heading', { name: 'Sign in' }).waitFor())
    await signIn(page, EXAMPLE_OWNER)
    const links = page.getByRole('navigation', { name: 'Screens' }).getByRole('link')
    await links.first().waitFor({ state: 'attached' })
    const hashes = await links.evaluateAll((all) => all.map((link) => (link as HTMLAnchorElement).hash))
    for (const hash of hashes) await shoot(hash.replace('#/', ''), () => goto(page, hash))
    for (const { name, hash, open } of BEHIND) {
      await shoot(name, async () => {
        await goto(page, hash)
        await open(page)
      })
    }
    await page.getByRole('button', { name: 'Sign out' }).click()
    await signIn(page, 'outsider@bulkhead.example')
    await shoot('no-tenant', () => page.getByText('You belong to no tenant yet').waitFor())
  } finally {
    for (const { kind, text } of person.problems) console.error(`${variant}: ${kind}: ${text}`)
    problems += person.problems.length
    await person.close()
  }
}
