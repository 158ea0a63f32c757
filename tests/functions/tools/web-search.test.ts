import { Validator } from '@cfworker/json-schema'
import { describe, expect, it } from 'vitest'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { createWebSearch, webSearchProviderFromEnv } from '../../../supabase/functions/_shared/tools/web-search.ts'
import { httpServer } from '../support/egress.ts'
import { outsideContext } from '../support/tool-context.ts'

async function scene(answer: unknown, status = 200, headers: Record<string, string> = {}) {
  const server = await httpServer((_, response) =>
    response.writeHead(status, headers).end(typeof answer === 'string' ? answer : JSON.stringify(answer)),
  )
  const tool = createWebSearch(createEgress(), {
    url: `http://127.0.0.1:${server.port}/search`,
    apiKey: 'canary-key',
  }) as Tool
  return {
    server,
    tool,
    call: (args: Record<string, unknown> = {}) => tool.execute({ query: 'pumps', ...args }, outsideContext()),
  }
}

describe('web_search', () => {
  it('is not there without a provider', () => {
    expect(createWebSearch(createEgress(), null)).toBeNull()
    expect(webSearchProviderFromEnv({})).toBeNull()
    expect(webSearchProviderFromEnv({ WEB_SEARCH_URL: 'http://searx:8080/s' })).toEqual({
      url: 'http://searx:8080/s',
      apiKey: null,
    })
    expect(() => webSearchProviderFromEnv({ WEB_SEARCH_URL: 'searx' })).toThrow(/WEB_SEARCH_URL/)
  })

  it('posts the arguments with defaults and key, and lists what is found', async () => {
    const results = [
      {
        url: 'https://a.example/1',
        title: 'First\n result',
        published_date: '2026-01-02',
        snippet: 'About\u200b pumps.',
      },
      { url: 'https://b.example/2', title: null, text: 'Whole text.' },
      { url: 'javascript:alert(1)', title: 'no' },
      { title: 'no address' },
      'nonsense',
    ]
    const { call, server } = await scene({ results })
    expect(await call({ include_domains: ['a.example'] })).toEqual({
      text: '1. First result\nhttps://a.example/1\nPublished: 2026-01-02\nAbout pumps.\n\n2. Untitled\nhttps://b.example/2\nWhole text.',
    })
    expect(server.seen[0]?.headers.authorization).toBe('Bearer canary-key')
    expect(JSON.parse(server.seen[0]?.body ?? '')).toEqual({
      query: 'pumps',
      num_results: 5,
      search_type: 'auto',
      content_mode: 'snippet',
      include_domains: ['a.example'],
    })
  })

  it('shows as many as asked for, each with its share of the room', async () => {
    const results = Array.from({ length: 50 }, (_, i) => ({
      url: `https://a.example/${i}`,
      title: `T${i}`,
      text: 'x'.repeat(40_000),
    }))
    const { call } = await scene({ results })
    const { text } = await call({ num_results: 10 })
    expect(text.match(/^\d+\. T/gm)).toHaveLength(10)
    expect(text.length).toBeLessThanOrEqual(50_000)
    expect(await (await scene({ results: [] })).call()).toEqual({ text: 'Nothing was found.' })
  })

  it.each([
    ['refuses', { error: 'bad key canary-key' }, 401, {}, 'The service answered with HTTP 401.'],
    ['speaks no JSON', '<html>', 200, {}, 'The service did not answer with JSON.'],
    ['answers something else', { items: [] }, 200, {}, 'The search service gave an answer that cannot be read.'],
    ['redirects', '', 302, { location: 'https://elsewhere.example/' }, 'The server redirects too often.'],
  ])('says so when the service %s, without repeating what it said', async (_, answer, status, headers, text) => {
    const { call } = await scene(answer, status, headers as Record<string, string>)
    expect(await call()).toEqual({ isError: true, text })
  })

  it('takes the arguments of the reference and no others', async () => {
    const { tool } = await scene({})
    const valid = (args: unknown) => new Validator(tool.inputSchema, '2020-12').validate(args).valid
    expect(
      valid({
        query: 'x',
        num_results: 10,
        search_type: 'auto',
        include_domains: [],
        exclude_domains: ['a.b'],
        start_date: '2026-01-01',
        end_date: '2026-02-01',
        category: 'news',
        content_mode: 'text',
      }),
    ).toBe(true)
    for (const args of [
      {},
      { query: '' },
      { query: 'x', num_results: 11 },
      { query: 'x', max_results: 5 },
      { query: 'x', start_date: 'soon' },
    ]) {
      expect(valid(args), JSON.stringify(args)).toBe(false)
    }
  })
})
