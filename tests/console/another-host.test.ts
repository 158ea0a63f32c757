import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readConsoleFiles } from '../../local/console/files.ts'
import { run } from '../../scripts/support/run.ts'
import { WAIT } from '../support/stack.ts'
import { describeConsole, goto, openPerson, signIn } from './support/console.ts'

// The console as it is put on a static host: built for one project, under the policy that the build wrote, on another
// origin than the services.

const host: Server = createServer()
await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve))
const origin = `http://127.0.0.1:${(host.address() as AddressInfo).port}`
const folder = mkdtempSync(join(tmpdir(), 'bulkhead-console-host-'))
afterAll(() => {
  host.close()
  host.closeAllConnections()
  rmSync(folder, { recursive: true })
})

/** What a host does that reads `_headers`, below a path. */
const serveFolder = () => {
  const files = readConsoleFiles(folder)
  const [first = ''] = readFileSync(join(folder, '_headers'), 'utf8').split('/assets/*')
  const headers = [...first.matchAll(/^ {2}([^:]+): (.+)$/gm)].map(
    ([, name = '', value = '']) => [name, value] as const,
  )
  host.on('request', (request, response) => {
    const file = files.get((request.url ?? '').replace(/^\/console/, '').replace(/\?.*/, ''))
    for (const [name, value] of headers) response.setHeader(name, value)
    if (!file) return response.writeHead(404).end()
    return response.writeHead(200, { 'content-type': file.type }).end(file.bytes)
  })
}

describeConsole(
  'the console on another host',
  (app) => {
    beforeAll(async () => {
      const built = await run(process.execPath, ['web/build/main.ts', '--out', folder], {
        ...process.env,
        VITE_SUPABASE_URL: app.url,
        VITE_SUPABASE_PUBLISHABLE_KEY: app.stack.keys.publishable,
      })
      if (built.code !== 0) throw new Error(built.output)
      serveFolder()
    })

    test('signs in, uploads and reads across origins, and offers no seeded people', async () => {
      const person = await openPerson(app.browser, `${origin}/console`, {}, app.url)
      const { page } = person
      await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor()
      expect(await page.getByText('member@harbor.example').count()).toBe(0)
      await signIn(page, 'member@harbor.example')
      await goto(page, '#/documents')
      const content = Buffer.from('# Berths\n\nBerth 12 is closed on Sundays.\n')
      await page
        .locator('input[type=file]')
        .first()
        .setInputFiles({ name: 'berths.md', mimeType: 'text/markdown', buffer: content })
      await page.getByText('berths.md').first().waitFor()
      const sources = app.stack.service.schema('ai').from('sources').select('extraction_status').eq('name', 'berths.md')
      await expect.poll(async () => (await sources).data, WAIT).toEqual([{ extraction_status: 'extracted' }])
      expect(person.problems).toEqual([])
      await person.close()
    })

    test('reaches nothing but its project', async () => {
      const person = await openPerson(app.browser, `${origin}/console`, {}, app.url)
      const reach = (address: string) =>
        person.page.evaluate(async (url) => (await fetch(url, { mode: 'no-cors' }).catch(() => null)) !== null, address)
      expect(await reach(`${app.url}/auth/v1/health`)).toBe(true)
      // There is somebody at this address as well: it is the policy that refuses.
      expect(await reach(app.url.replace('127.0.0.1', 'localhost'))).toBe(false)
      await expect.poll(() => person.problems.map(({ kind }) => kind), WAIT).toContain('policy violation')
      await person.close()
    })
  },
  { console: false, userEnv: { BULKHEAD_CORS_ORIGINS: origin } },
)
