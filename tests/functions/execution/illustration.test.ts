import { describe, expect, it } from 'vitest'
import type { Db } from '../../../supabase/functions/_shared/context.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import { createIllustration } from '../../../supabase/functions/_shared/execution/illustration.ts'
import type { Equipment } from '../../../supabase/functions/_shared/execution/outcome.ts'
import type {
  ChatMessage,
  ChatProvider,
  ChatRequest,
  ContextItem,
} from '../../../supabase/functions/_shared/providers/index.ts'
import { formatContext } from '../../../supabase/functions/_shared/providers/prompt.ts'
import type { Tool, ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'

const TENANT = 't'
const PAGES = 20
const item = (key: number, page: number, sourceId = 's'): ContextItem => ({
  key,
  text: `Text of passage ${key}.`,
  sourceId,
  sourceName: 'a.pdf',
  meta: { images: [{ page }] },
})
const textOf = (items: readonly ContextItem[]): string => items.map(({ key, text }) => `[${key}]\n${text}`).join('\n\n')

/** An illustration over one source of 20 pages, and what a provider is asked with. */
function make({ imageBytes = 10, visible = ['s'], takesImages = true, failure = null as AppError | null } = {}) {
  const reads: string[] = []
  const asks: string[] = []
  const rowOf = (id: string) => ({
    id,
    tenant_id: TENANT,
    image: Array.from({ length: PAGES }, (_, index) => ({
      storage_path: `${TENANT}/${id}/pages/x/${index + 1}.png`,
      page: index + 1,
      format: 'png',
      metadata: {},
    })),
  })
  let asked = ''
  const query = {
    select: () => query,
    eq: (_: string, id: string) => (asks.push((asked = id)), query),
    abortSignal: () => query,
    maybeSingle: () => Promise.resolve({ data: visible.includes(asked) ? rowOf(asked) : null, error: null }),
  }
  const db = { schema: () => ({ from: () => query }) } as unknown as Db
  const objects = {
    get: (key: string) => {
      reads.push(key)
      return Promise.resolve({ stream: pieces(imageBytes), sizeBytes: imageBytes })
    },
  }
  const log = { info: () => {}, error: () => {} }
  const illustration = createIllustration({ db: () => Promise.resolve(db), objects, log }, [])
  const requests: ChatRequest[] = []
  const chat = illustration.chat({
    name: 'test',
    model: 'm',
    takesImages,
    modelFor: () => 'm',
    contextWindow: () => 100_000,
    async *stream(request) {
      requests.push(request)
      await Promise.resolve()
      if (failure && requests.length === 1) throw failure
      yield { type: 'delta' as const, text: 'ok' }
    },
  } satisfies ChatProvider)
  const ask = async (request: Partial<ChatRequest>) => {
    const whole = { system: '', messages: [], context: [], citations: false, ...request }
    for await (const _ of chat.stream(whole, new AbortController().signal));
    return requests.at(-1)!
  }
  /** Lets knowledge_search find these, and returns the message with its result. */
  const found = async (items: ContextItem[], format = textOf): Promise<ChatMessage> => {
    const tool = {
      name: 'knowledge_search',
      kind: 'builtin',
      execute: () => Promise.resolve({ text: format(items), contextItems: items }),
    } as unknown as Tool
    const [watched] = illustration.watch({ tools: [tool] } as unknown as Equipment).tools
    const { text } = await watched!.execute({}, {} as ToolCallContext)
    return { role: 'tool', toolCallId: 'c', name: 'knowledge_search', content: text }
  }
  return { ask, asks, chat, found, reads, requests }
}
// deno-lint-ignore require-await
async function* pieces(bytes: number) {
  yield new Uint8Array(bytes)
}
const labels = (request: ChatRequest) =>
  request.messages.flatMap((message) =>
    (message.role === 'user' ? (message.images ?? []) : []).map(({ label }) => label),
  )

const question: ChatMessage = { role: 'user', content: 'What?' }

describe('page images of a request', () => {
  it('are eight at most, the rest stays text; each page is there once', async () => {
    const { ask, found, reads } = make()
    const items = Array.from({ length: 10 }, (_, index) => item(index + 1, index + 1))
    const result = await found([...items, item(11, 1)])
    const request = await ask({ messages: [question, result] })
    expect(labels(request)).toEqual(Array.from({ length: 8 }, (_, index) => `"a.pdf", page ${index + 1}:`))
    const { content } = request.messages[1]!
    for (const shown of [1, 8, 11]) expect(content).not.toContain(`Text of passage ${shown}.`)
    for (const text of [9, 10]) expect(content).toContain(`Text of passage ${text}.`)
    // The next request of the run reads none of them again.
    await ask({ messages: [question, result] })
    expect(reads).toHaveLength(8)
  })

  it.each([true, false])(
    'take the place of their own passage, whatever stands in it (numbers: %s)',
    async (citations) => {
      const { ask, found } = make({ visible: ['s', 'other'] })
      const shown = (key: number, text: string): ContextItem => ({
        ...item(key, key),
        text,
        itemId: `chunk-${key}`,
        meta: { images: [{ page: key }], pages: [key] },
      })
      const price = 'The price is not payable in advance.'
      const other = { ...shown(4, price), sourceId: 'other', sourceName: 'b.pdf', meta: { pages: [4] } }
      // Words, and the header line, of the passage of another document.
      const items = [shown(1, 'not'), shown(2, '[4] [Page(s): 4]'), shown(3, 'price is'), other]
      const result = await found(items, (found) => formatContext(found, citations))
      const request = await ask({ messages: [question, result] })
      const note = (page: number) => `(Shown as an image of page ${page}.)`
      const header = (key: number) => `${citations ? `[${key}] ` : ''}[Page(s): ${key}]`
      expect(request.messages[1]!.content.split('\n\n')).toEqual([
        '--- Document: "a.pdf" ---',
        ...[1, 2, 3].map((key) => `${header(key)}\n${note(key)}`),
        '--- Document: "b.pdf" ---',
        `${header(4)}\n${price}`,
      ])
      expect(labels(request)).toHaveLength(3)
    },
  )

  it('are given again only as long as the person may read their source', async () => {
    const visible = ['s', 'other']
    const { ask, asks, found, reads } = make({ visible })
    const result = await found([item(1, 1), item(2, 2), item(3, 1, 'other')])
    const messages = [question, result]
    expect(labels(await ask({ messages }))).toHaveLength(3)
    visible.shift()
    const request = await ask({ messages })
    expect(labels(request)).toEqual(['"a.pdf", page 1:'])
    for (const shown of [1, 2]) expect(request.messages[1]!.content).toContain(`Text of passage ${shown}.`)
    visible.push('s')
    expect(labels(await ask({ messages }))).toHaveLength(3)
    // Each request asks for each source once, and for no bytes that have been read.
    expect(asks).toEqual(['s', 'other', 's', 'other', 's', 'other'])
    expect(reads).toHaveLength(3)
  })

  it('are looked for in so many sources only, however many are named that nobody can see', async () => {
    const { ask, asks } = make()
    const context = Array.from({ length: 300 }, (_, index) => item(index + 1, 1, `made-up-${index}`))
    expect((await ask({ messages: [question], context })).context).toEqual(context)
    expect(asks).toHaveLength(32)
    expect(labels(await ask({ messages: [question], context: [item(1, 1), ...context] }))).toHaveLength(1)
  })

  it('are no more bytes than a request may have', async () => {
    const { ask, found } = make({ imageBytes: 3 * 1024 * 1024 })
    const request = await ask({ messages: [question, await found([item(1, 1), item(2, 2), item(3, 3)])] })
    expect(labels(request)).toHaveLength(2)
    expect(request.messages[1]!.content).toContain('Text of passage 3.')
  })

  it('go to the newest results first', async () => {
    const { ask, found } = make()
    const many = (from: number) => Array.from({ length: 6 }, (_, index) => item(from + index, from + index))
    const [older, newer] = [await found(many(1)), await found(many(7))]
    const request = await ask({ messages: [question, older, { role: 'assistant', content: '' }, newer] })
    expect(request.messages.map(({ role }) => role)).toEqual(['user', 'tool', 'user', 'assistant', 'tool', 'user'])
    expect(labels(request)).toHaveLength(8)
    expect(labels(request).slice(2)).toEqual(many(7).map((_, index) => `"a.pdf", page ${index + 7}:`))
  })

  it('are left out of a result that a hook has changed, and of one that is only said to be a search', async () => {
    const { ask, found } = make()
    const result = await found([item(1, 1)])
    const changed = { ...result, content: `${result.content} Changed.` }
    const forged = { ...result, content: textOf([item(2, 2)]) }
    expect((await ask({ messages: [question, changed, forged] })).messages).toEqual([question, changed, forged])
  })

  it('are not given where the source cannot be read, nor to a provider that takes none', async () => {
    for (const setup of [make({ visible: [] }), make({ takesImages: false })]) {
      const messages = [question, await setup.found([item(1, 1)])]
      const context = [item(2, 2)]
      expect(await setup.ask({ messages, context })).toMatchObject({ messages, context })
      expect(setup.reads).toEqual([])
    }
  })

  it('are counted before they are asked with, each page once and eight at most', async () => {
    const { ask, chat, found } = make({ failure: new AppError('context_length_exceeded', 'too long') })
    const tokens = (request: Partial<ChatRequest>) =>
      chat.imageTokens?.({ system: '', messages: [], context: [], citations: false, ...request })
    const of = tokens({ context: [item(1, 1)] })
    expect(of).toBeGreaterThan(0)
    const results = [await found([item(1, 1), item(2, 2)]), await found([item(1, 1)])]
    expect(tokens({ messages: [question, ...results], context: [item(3, 2)] })).toBe(2 * of!)
    const many = Array.from({ length: 12 }, (_, index) => item(index, index + 1))
    expect(tokens({ context: many })).toBe(8 * of!)
    expect(tokens({ messages: [question] })).toBe(0)
    expect(
      make({ takesImages: false }).chat.imageTokens?.({ system: '', messages: [], context: many, citations: false }),
    ).toBe(0)
    // Refused once, they are given up.
    await ask({ context: many })
    expect(tokens({ context: many })).toBe(0)
  })

  it('stand before the question, when they belong to the context', async () => {
    const { ask } = make()
    const context = [item(1, 4), { key: 2, text: 'No images.', meta: {} }]
    const request = await ask({ messages: [{ role: 'user', content: 'Before.' }, question], context })
    expect(request.messages.map(({ content }) => content)).toEqual([
      'Before.',
      expect.stringMatching('instruction'),
      'What?',
    ])
    expect(request.context.map(({ text }) => text)).toEqual(['(Shown as an image of page 4.)', 'No images.'])
  })

  it('are given up for the run when an endpoint refuses them, and only then', async () => {
    const refused = new AppError('upstream_failed', 'refused', { cause: Object.assign(new Error(), { status: 400 }) })
    const { ask, found, requests } = make({ failure: refused })
    const messages = [question, await found([item(1, 1)])]
    await ask({ messages })
    await ask({ messages })
    expect(requests.map((request) => labels(request).length)).toEqual([1, 0, 0])
    const busy = make({ failure: new AppError('rate_limited', 'busy') })
    await expect(busy.ask({ messages: [question, await busy.found([item(1, 1)])] })).rejects.toThrow('busy')
  })
})
