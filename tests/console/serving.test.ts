import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { accessibilityProblems } from './support/axe.ts'
import { SEED_PASSWORD, WAIT } from '../support/stack.ts'
import { describeConsole } from './support/console.ts'

/** Gzipped, what a browser loads before the first screen can be used. */
const FIRST_SCREEN_BYTES = 250_000

describeConsole('the console', (app) => {
  test('is served under its policy, beside the services', async () => {
    const page = await fetch(`${app.url}/`)
    expect(page.status).toBe(200)
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy')
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]) {
      expect(policy).toContain(rule)
    }
    expect(page.headers.get('access-control-allow-origin')).toBeNull()
    const html = await page.text()
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/i)

    for (const address of ['/nothing', '/assets/nothing.js', '/_headers', '/%2e%2e/package.json', '/web/index.html']) {
      const unknown = await fetch(app.url + address)
      expect.soft(unknown.status, address).toBe(404)
      expect.soft(await unknown.json()).toEqual({ message: 'no Route matched with those values' })
    }
    expect((await fetch(`${app.url}/`, { method: 'POST' })).status).toBe(404)
    expect((await fetch(`${app.url}/rest/v1/`, { headers: { apikey: app.stack.keys.secret } })).status).toBe(200)
  })

  test('loads little before the first screen, and nothing from elsewhere', async () => {
    const { page } = await app.open()
    const loaded: { url: string; bytes: number }[] = []
    page.on('response', async (response) => {
      const body = await response.body().catch(() => Buffer.alloc(0))
      loaded.push({ url: response.url(), bytes: gzipSync(body).length })
    })
    await page.reload({ waitUntil: 'networkidle' })
    await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor()
    expect(loaded.map(({ url }) => url).join()).toContain('/assets/')
    expect(loaded.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(FIRST_SCREEN_BYTES)
  })

  test('a wrong password is refused, with code', async () => {
    const { page } = await app.open()
    await page.getByLabel('E-mail address').fill('member@harbor.example')
    await page.getByLabel('Password').fill('not the password')
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    const alert = page.getByRole('alert')
    await alert.waitFor()
    expect(await alert.textContent()).toContain('invalid_credentials')
    expect(await page.getByRole('heading', { name: 'Sign in', exact: true }).isVisible()).toBe(true)
  })

  test('all of it can be reached with the keyboard', async () => {
    const { page } = await app.open()
    await page.getByLabel('E-mail address').focus()
    await page.keyboard.type('admin@harbor.example')
    await page.keyboard.press('Tab')
    await page.keyboard.type(SEED_PASSWORD)
    await page.keyboard.press('Enter')
    await page.getByRole('navigation', { name: 'Screens' }).waitFor()

    // The first stop leads past the navigation. A key that comes while the screens change is lost: then once more from the
    // top.
    const firstStop = async () => {
      await page.evaluate(() => {
        document.body.tabIndex = -1
        document.body.focus()
        document.body.removeAttribute('tabindex')
      })
      await page.keyboard.press('Tab')
      return page.evaluate(() => (document.activeElement as HTMLElement | null)?.innerText)
    }
    await expect.poll(firstStop, WAIT).toBe('Skip to the content')
    await page.keyboard.press('Enter')
    await expect.poll(() => page.evaluate(() => document.activeElement?.tagName), WAIT).toBe('MAIN')

    for (const name of ['Chat', 'Documents', 'Search', 'Approvals', 'Runs', 'Access', 'Usage', 'Audit', 'People']) {
      await page.getByRole('link', { name, exact: true }).focus()
      await page.keyboard.press('Enter')
      await expect.poll(() => page.title(), WAIT).toMatch(new RegExp(`^${name} · `))
    }
    await page.getByRole('tab', { name: 'Members' }).focus()
    await page.keyboard.press('ArrowRight')
    await page.keyboard.press('Enter')
    await page.getByRole('tab', { name: 'Groups', selected: true }).waitFor()

    // A dialog takes the focus, closes on Escape and gives the focus back.
    await page.getByRole('link', { name: 'Agents', exact: true }).focus()
    await page.keyboard.press('Enter')
    const button = page.getByRole('button', { name: 'Create an agent' })
    await button.focus()
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog')
    await dialog.waitFor()
    await expect.poll(() => dialog.evaluate((element) => element.contains(document.activeElement)), WAIT).toBe(true)
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await expect.poll(() => button.evaluate((element) => element === document.activeElement), WAIT).toBe(true)
  })

  test('a seeded person is one click away, and still there after a reload', async () => {
    const { page } = await app.open()
    await page.getByRole('button', { name: 'member@harbor.example' }).click()
    await page.getByRole('navigation', { name: 'Screens' }).waitFor()
    expect(await page.getByText('Harbor Logistics').first().isVisible()).toBe(true)
    await page.reload()
    await page.getByRole('navigation', { name: 'Screens' }).waitFor()
  })

  test('the first screen has no serious accessibility violation, light or dark', async () => {
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await app.open({ colorScheme })
      await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor()
      expect(await accessibilityProblems(page)).toEqual([])
    }
  })

  test('what a window does wrong is noticed: errors, foreign requests, violations of the policy', async () => {
    const person = await app.open()
    await person.page.evaluate(() => {
      console.error('said')
      setTimeout(() => {
        throw new Error('thrown')
      })
      const image = new Image()
      image.src = 'https://tracker.example/pixel.png'
      document.body.append(image)
      document.body.setAttribute('style', 'color: red')
      const script = document.createElement('script')
      script.textContent = 'document.title = "taken over"'
      document.body.append(script)
    })
    const texts = () => person.problems.map(({ kind, text }) => `${kind}: ${text}`)
    for (const expected of [
      /^console error: said/,
      /^page error: .*thrown/,
      /^foreign request: https:\/\/tracker\.example\/pixel\.png/,
      /^policy violation: img-src blocked https:\/\/tracker\.example/,
      /^policy violation: style-src/,
      /^policy violation: script-src/,
    ]) {
      await expect.poll(texts, { timeout: 15_000 }).toContainEqual(expect.stringMatching(expected))
    }
    expect(await person.page.title()).not.toBe('taken over')
    for (const kind of ['console error', 'page error', 'foreign request', 'policy violation'] as const) {
      person.tolerate(kind, /./)
    }
  })
})
