/*
Browser tests of the console. A file of them looks like this:

    import { expect, test } from 'vitest'
    import { accessibilityProblems } from './support/axe.ts'
    import { describeConsole, goto } from './support/console.ts'

    describeConsole('documents', (app) => {
      test('one sees them', async () => {
        const { page } = await app.signIn('member@harbor.example')
        await goto(page, '#/documents')
        await page.getByRole('heading', { name: 'Documents' }).waitFor()
        expect(await accessibilityProblems(page)).toEqual([])
      })
    })

- `describeConsole` starts one stack of its own (functions, worker, console; a copy of the prepared, seeded database) and
  one headless Chromium for the file, and stops both. Without a Chromium it leaves the file out and says why; where CI is
  set it fails instead. CHROMIUM_PATH names another one.
- `app.signIn(email)` opens a person: a browser context of its own, with nothing in common with others but the stack;
  signed in with the seeded password. `app.open()` opens one in which nobody is signed in. Options set `colorScheme`,
  `viewport` (DESKTOP by default, or PHONE) and whatever else Playwright's contexts take.
  `person.page` is its first window, `person.window(hash)` opens another of the same browser.
- All persons are closed after each test, and the test fails if one of their windows has written an error to the console,
  thrown, violated the Content-Security-Policy or asked a foreign host (even when the policy blocked it). What a test
  provokes on purpose it names: `person.tolerate('policy violation', /img-src/)`. `person.problems` can be looked at
  before that. Answers of 4xx are no problem, those of 5xx are.
- `app.stack` is the stack as in other tests (tests/support/stack.ts): `app.stack.signIn(email)` gives a supabase-js
  client, `app.stack.service` one with the secret key, to prepare or check what the window shows.
- Wait for what is to be seen (`locator.waitFor()`, `expect.poll`), never for a time. Playwright waits 15 s at most.
- Of a failed test, what its windows showed is in web/screenshots/failed.
*/
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SEED_PASSWORD, startTestStack, type TestStack, type TestStackOptions } from '../../support/stack.ts'
import { findChromium, launchChromium } from './chromium.ts'
import { collectProblems, type Problem } from './problems.ts'

export const DESKTOP = { width: 1280, height: 800 }
export const PHONE = { width: 390, height: 844 }
/** Ignored by git. */
export const SCREENSHOTS = fileURLToPath(new URL('../../../web/screenshots', import.meta.url))

const WAIT_MS = 15_000
/** A stack, a build of the console and a browser, on two shared cores. */
const START_MS = 180_000

export type Person = {
  readonly context: BrowserContext
  /** The first window. */
  readonly page: Page
  /** What the windows have done wrong so far, without what is tolerated. */
  readonly problems: Problem[]
  /** Opens another window of the same browser: same storage, so the same person. */
  window(hash?: string): Promise<Page>
  /** Says that problems of this kind, with such a text, are what the test is about. */
  tolerate(kind: Problem['kind'], text: RegExp): void
  close(): Promise<void>
}

export type ConsoleApp = {
  readonly stack: TestStack
  /** Where the console is served, without a slash at the end. */
  readonly url: string
  readonly browser: Browser
  /** Opens a person's browser at the console; nobody is signed in. */
  open(options?: BrowserContextOptions): Promise<Person>
  /** The same, with this person signed in. Seeded ones need no password. */
  signIn(email: string, options?: BrowserContextOptions & { password?: string }): Promise<Person>
}

/** Signs in on the first screen and waits for those behind it. */
export const signIn = async (page: Page, email: string, password = SEED_PASSWORD): Promise<void> => {
  await page.getByLabel('E-mail address').fill(email)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByRole('heading', { name: 'Sign in' }).waitFor({ state: 'detached' })
}

/** Goes to a screen as a link would. @param hash e.g. `#/documents` */
export const goto = async (page: Page, hash: string): Promise<void> => {
  await page.evaluate((wanted) => (location.hash = wanted), hash)
}

/**
 * Opens a browser context at a console. For those who have no `app`, or one that is served elsewhere; close it when done.
 * @param services the stack's address where the console is not served by it
 */
export const openPerson = async (
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
  services = url,
): Promise<Person> => {
  const context = await browser.newContext({ viewport: DESKTOP, ...options })
  context.setDefaultTimeout(WAIT_MS)
  const problems = await collectProblems(
    context,
    [url, services].map((address) => new URL(address).host),
  )
  const tolerated: { kind: Problem['kind']; text: RegExp }[] = []
  const open = async (hash = '') => {
    const page = await context.newPage()
    await page.goto(`${url}/${hash}`)
    return page
  }
  return {
    context,
    page: await open(),
    get problems() {
      return problems.filter((one) => !tolerated.some(({ kind, text }) => one.kind === kind && text.test(one.text)))
    },
    window: open,
    tolerate: (kind, text) => void tolerated.push({ kind, text }),
    close: () => context.close(),
  }
}

/** A suite in a browser; see above. */
export const describeConsole = (
  name: string,
  body: (app: ConsoleApp) => void,
  options: TestStackOptions = {},
): void => {
  const executable = findChromium()
  if (!executable) {
    const reason = 'there is no Chromium (CHROMIUM_PATH, /usr/bin/chromium or chromium on PATH)'
    if (process.env['CI']) test(name, () => expect.fail(`${reason}, and with CI set the browser tests must run`))
    else {
      console.log(`console: "${name}" is left out, ${reason}`)
      describe.skip(name, () => test('needs Chromium', () => {}))
    }
    return
  }

  describe(name, () => {
    let stack: (TestStack & { stop(): Promise<void> }) | undefined
    let browser: Browser | undefined
    const starting: Promise<unknown>[] = []
    const persons = new Set<Person>()
    const started = <T>(value: T | undefined): T => {
      if (value === undefined) throw new Error('The console runs inside of tests and hooks only.')
      return value
    }

    beforeAll(async () => {
      starting.push(
        startTestStack({ functions: 'on-demand', worker: true, console: true, ...options }).then(
          (made) => (stack = made),
        ),
        launchChromium(executable).then((made) => (browser = made)),
      )
      await Promise.all(starting)
      const problem = await stack?.stack.console?.ready()
      if (problem) throw new Error(problem)
    }, START_MS)
    afterAll(async () => {
      // One may have come up after the other has failed.
      await Promise.allSettled(starting)
      await browser?.close()
      await stack?.stop()
    })
    afterEach(async ({ task }) => {
      const problems = [...persons].flatMap((person) => person.problems)
      if (task.result?.state === 'fail' || problems.length > 0) await keepWindows(persons, task.name)
      await Promise.all([...persons].map((person) => person.close()))
      persons.clear()
      expect(problems, 'what the windows have done wrong').toEqual([])
    })

    const app: ConsoleApp = {
      get stack() {
        return started(stack)
      },
      get url() {
        return started(stack).url
      },
      get browser() {
        return started(browser)
      },
      async open(context = {}) {
        const person = await openPerson(started(browser), started(stack).url, context)
        persons.add(person)
        return person
      },
      async signIn(email, { password, ...context } = {}) {
        const person = await app.open(context)
        await signIn(person.page, email, password)
        return person
      },
    }
    body(app)
  })
}

const keepWindows = async (persons: Set<Person>, name: string): Promise<void> => {
  const folder = path.join(SCREENSHOTS, 'failed')
  mkdirSync(folder, { recursive: true })
  const pages = [...persons].flatMap((person) => person.context.pages())
  for (const [index, page] of pages.entries()) {
    const file = path.join(folder, `${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 80)}-${index + 1}.png`)
    await page.screenshot({ path: file }).catch(() => {}) // a page that crashed has nothing to show
  }
}
