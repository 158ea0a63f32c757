import { Validator } from '@cfworker/json-schema'
import { describe, expect, it } from 'vitest'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { createWebScrape, webScrapeProviderFromEnv } from '../../../supabase/functions/_shared/tools/web-scrape.ts'
import { httpServer, networkOf, PUBLIC_1, resolverOf } from '../support/egress.ts'
import { outsideContext } from '../support/tool-context.ts'

const HTML =
  '<html><head><title>News</title></head><body><nav>Menu</nav><main><h1>Hello</h1><p class="ad">Buy</p><p>A <a href="/b">link</a>.</p></main></body></html>'

async function scene(body: string | Buffer, type: string, status = 200) {
  const server = await httpServer((_, response) =>
    response.writeHead(status, type === '' ? {} : { 'content-type': type }).end(body),
  )
  const tool = createWebScrape(createEgress({ allowHosts: [`127.0.0.1:${server.port}`] }))
  const url = `http://127.0.0.1:${server.port}/page`
  return {
    server,
    url,
    tool,
    call: (args: Record<string, unknown> = {}) => tool.execute({ url, ...args }, outsideContext()),
  }
}

describe('web_scrape', () => {
  it('gives the main part of a page as Markdown', async () => {
    const { call, url } = await scene(HTML, 'text/html; charset=utf-8')
    const link = new URL('/b', url)
    expect(await call({ exclude_tags: ['.ad'] })).toEqual({
      text: `Title: News\nURL: ${url}\n\n# Hello\n\nA [link](${link}).`,
    })
  })

  it('gives the formats asked for, and asks as a phone when told to', async () => {
    const { call, server, url } = await scene(HTML, 'text/html')
    const { text } = await call({ formats: ['text', 'links', 'html'], only_main_content: false, mobile: true })
    expect(text).toContain('--- text ---\nMenu\n')
    expect(text).toContain(`--- links ---\n${new URL('/b', url)}\n`)
    expect(text).toContain(`--- html ---\n${HTML}`)
    expect(server.seen[0]?.headers['user-agent']).toMatch(/Mobile/)
  })

  it('gives other text as it is, and says of the rest what it is', async () => {
    expect((await (await scene('{"a":1}', 'application/json')).call()).text).toMatch(/\n\n\{"a":1\}$/)
    expect((await (await scene(HTML, '')).call()).text).toContain('# Hello')
    const pdf = await scene('%PDF-1.7', 'application/pdf')
    expect(await pdf.call()).toEqual({ isError: true, text: 'There is no text at this address, but application/pdf.' })
    const lie = await scene(Buffer.from([0x50, 0x4b, 3, 4, 0, 0]), 'text/html')
    expect(await lie.call()).toEqual({ isError: true, text: 'There is no text at this address, but text/html.' })
    expect(await (await scene('gone', 'text/html', 410)).call()).toEqual({
      isError: true,
      text: 'The page answered with HTTP 410.',
    })
  })

  it('N04: reads the beginning of a page without end, and gives 200,000 characters of it', async () => {
    const { call } = await scene(`<p>${'word '.repeat(500_000)}</p>`, 'text/html')
    const { text } = await call()
    expect(text).toContain('[The page is longer; only its beginning was read.]')
    expect(text.length).toBe(200_000)
  })

  it('N01: refuses addresses inside', async () => {
    const tool = createWebScrape(createEgress({ connector: networkOf({}) }))
    expect(await tool.execute({ url: 'http://169.254.169.254/latest/meta-data/' }, outsideContext())).toEqual({
      isError: true,
      text: 'This host may not be contacted.',
    })
  })

  it('takes the arguments of the reference and no others', async () => {
    const { tool } = await scene('', '')
    const valid = (args: unknown) => new Validator(tool.inputSchema, '2020-12').validate(args).valid
    expect(
      valid({
        url: 'x',
        formats: ['markdown'],
        include_images: true,
        only_main_content: false,
        exclude_tags: ['nav', '.a', '#b'],
        wait_for: 100,
        mobile: true,
      }),
    ).toBe(true)
    for (const args of [
      {},
      { url: 'x', formats: [] },
      { url: 'x', exclude_tags: ['a[b]'] },
      { url: 'x', tenant_id: 't' },
    ]) {
      expect(valid(args), JSON.stringify(args)).toBe(false)
    }
  })
})

describe('web_scrape with a provider', () => {
  it('hands it the arguments and the key, once the address has been checked', async () => {
    const server = await httpServer((_, response) =>
      response.end(
        JSON.stringify({ success: true, data: { markdown: '# Run\u200b', title: 'T', links: ['https://a.example'] } }),
      ),
    )
    const provider = { url: `http://127.0.0.1:${server.port}/scrape`, apiKey: 'canary-key' }
    const egress = createEgress({
      connector: networkOf({}, true),
      resolver: resolverOf({ 'app.example.com': [[PUBLIC_1]], 'sly.example.com': [['10.0.0.1']] }),
    })
    const tool = createWebScrape(egress, { provider })
    const url = 'https://app.example.com/x'
    const { text } = await tool.execute({ url, wait_for: 500, formats: ['markdown', 'links'] }, outsideContext())
    expect(text).toBe(`Title: T\nURL: ${url}\n\n--- markdown ---\n# Run\n\n--- links ---\nhttps://a.example`)
    expect(server.seen).toHaveLength(1)
    expect(server.seen[0]?.headers.authorization).toBe('Bearer canary-key')
    expect(JSON.parse(server.seen[0]?.body ?? '')).toEqual({ url, wait_for: 500, formats: ['markdown', 'links'] })

    for (const refused of ['https://sly.example.com/', 'http://app.example.com/', 'https://localhost/', provider.url]) {
      expect(await tool.execute({ url: refused }, outsideContext())).toMatchObject({ isError: true })
    }
    expect(server.seen).toHaveLength(1)
  })

  it('comes from the environment, or not at all', () => {
    expect(webScrapeProviderFromEnv({})).toBeNull()
    expect(webScrapeProviderFromEnv({ WEB_SCRAPE_URL: 'https://s.example/v1', WEB_SCRAPE_API_KEY: 'k' })).toEqual({
      url: 'https://s.example/v1',
      apiKey: 'k',
    })
    expect(() => webScrapeProviderFromEnv({ WEB_SCRAPE_URL: 'ftp://x' })).toThrow(/WEB_SCRAPE_URL/)
  })
})
