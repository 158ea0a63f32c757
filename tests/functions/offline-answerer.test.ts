import { describe, expect, it } from 'vitest'
import type {
  ChatEvent,
  ChatMessage,
  ChatRequest,
  ContextItem,
} from '../../supabase/functions/_shared/providers/index.ts'
import {
  NOTHING_FOUND,
  createOfflineAnswerer,
  extractAnswer,
} from '../../supabase/functions/_shared/providers/offline-answerer.ts'
import { formatContext, parseContext } from '../../supabase/functions/_shared/providers/prompt.ts'

const item = (key: number, text: string, more: Partial<ContextItem> = {}): ContextItem => ({
  key,
  text,
  meta: {},
  ...more,
})
const ask = (question: string, texts: (string | ContextItem)[], citations = true) =>
  extractAnswer({
    messages: [{ role: 'user', content: question }],
    context: texts.map((text, index) => (typeof text === 'string' ? item(index + 1, text) : text)),
    citations,
  })

const RULES =
  '# Port rules\n\nThe terminal gate opens at seven in the morning. Trucks queue on lane four.\n\n' +
  'Demurrage of 40 euro per day is charged after five free days. It is invoiced monthly.'

describe('the offline answerer', () => {
  it.each([
    ['When does the terminal gate open?', '“The terminal gate opens at seven in the morning.” [1]'],
    ['How much demurrage is charged per day?', '“Demurrage of 40 euro per day is charged after five free days.” [1]'],
  ])('quotes the sentence that answers %j', (question, expected) => {
    expect(ask(question, [RULES])).toBe(expected)
  })

  it('cites the item the sentence comes from', () => {
    expect(ask('When does the terminal gate open?', ['Salaries are paid on the last Friday.', RULES])).toMatch(/\[2\]$/)
  })

  it('quotes at most three sentences, no sentence twice, and only nearly equal ones', () => {
    const same = 'The gate of the terminal opens at seven.'
    const answer = ask('When does the terminal gate open?', [
      same,
      same,
      `${same} `,
      'The terminal gate opens late on Sundays.',
    ])
    expect(answer.match(/The gate of the terminal/g)).toHaveLength(1)
    const many = Array.from({ length: 9 }, (_, i) => `The terminal gate opens on day ${i} of week ${i}.`)
    expect(ask('When does the terminal gate open?', many).match(/\[\d\]/g)).toHaveLength(3)
  })

  it.each([
    ['no context', 'When does the gate open?', []],
    ['context about something else', 'When does the terminal gate open?', ['Employees receive thirty days of leave.']],
    ['one shared word of several', 'What is the maximum dosage of ibuprofen per day?', [RULES]],
    ['a question of stop words', 'What is it about?', [RULES]],
    ['a heading alone', 'port rules', ['# Port rules']],
    ['another language', 'Wie hoch ist die Vertragsstrafe?', [RULES]],
  ])('says exactly that it found nothing for %s', (_name, question, texts) => {
    expect(ask(question, texts)).toBe(NOTHING_FOUND)
    expect(NOTHING_FOUND).toBe('I found nothing about this in your documents.')
  })

  it('follows a pronoun to the sentence before', () => {
    expect(ask('When does gate B close?', ['Gate B opens at seven. It closes at nine.'])).toContain(
      'It closes at nine.',
    )
  })

  it('uses headings and document names to tell what a passage is about', () => {
    const passage = item(1, 'Two weeks of notice in writing.', {
      sourceName: 'Lease termination.pdf',
      meta: { heading_path: ['Lease', 'Termination'] },
    })
    expect(ask('notice for lease termination', [passage])).toContain('Two weeks')
  })

  it('reads scripts without spaces', () => {
    expect(ask('七号码头几点关门？', ['七号码头晚上六点关门。工资每月支付。'])).toContain('七号码头晚上六点关门。')
  })

  it('never writes a mark that comes from the document', () => {
    const answer = ask('When does the terminal gate open?', ['The terminal gate opens at seven [12] and [3, 4].'])
    expect(answer).toBe('“The terminal gate opens at seven (12) and (3, 4).” [1]')
    expect(ask('When does the terminal gate open?', [RULES], false)).not.toMatch(/\[\d/)
  })

  it('keeps quotes short', () => {
    const long = `The terminal gate opens ${'very '.repeat(500)}late.`
    const answer = ask('When does the terminal gate open?', [long])
    expect(answer.length).toBeLessThan(420)
    expect(answer).toContain('…')
  })

  it('streams word by word, then usage, and says who it is', async () => {
    const provider = createOfflineAnswerer()
    expect([provider.name, provider.model, provider.modelFor('gpt-4o')]).toEqual([
      'offline',
      'bulkhead-extractive',
      'bulkhead-extractive',
    ])
    const request = {
      system: 's',
      messages: [{ role: 'user' as const, content: 'When does the terminal gate open?' }],
      context: [item(1, RULES)],
      citations: true,
    }
    const events: ChatEvent[] = []
    for await (const event of provider.stream(request, new AbortController().signal)) events.push(event)
    const text = events.map((event) => (event.type === 'delta' ? event.text : '')).join('')
    expect(text).toBe(extractAnswer(request))
    expect(events.length).toBeGreaterThan(8)
    expect(events.at(-1)).toMatchObject({
      type: 'done',
      finishReason: 'stop',
      usage: { total_tokens: expect.any(Number) },
    })
  })

  it('stops when it is told to', async () => {
    const abort = new AbortController()
    const reading = (async () => {
      const request = {
        system: '',
        messages: [{ role: 'user' as const, content: 'terminal gate' }],
        context: [item(1, RULES)],
        citations: true,
      }
      for await (const _event of createOfflineAnswerer().stream(request, abort.signal)) abort.abort()
    })()
    await expect(reading).rejects.toThrow()
  })

  it('is not slow on large contexts', () => {
    const texts = Array.from({ length: 100 }, () => RULES.repeat(20))
    expect(ask('When does the terminal gate open?', texts)).toBeDefined()
  })
})

describe('the offline answerer with tools', () => {
  const tool = (name: string) => ({ name, description: '', inputSchema: { type: 'object' } })
  const question: ChatMessage = { role: 'user', content: ' When does the terminal gate open? ' }
  const searched = (id: string): ChatMessage => ({
    role: 'assistant',
    content: '',
    toolCalls: [{ id, name: 'knowledge_search', arguments: '{}' }],
  })
  const found = (content: string, name = 'knowledge_search'): ChatMessage => ({
    role: 'tool',
    toolCallId: 'c',
    name,
    content,
  })
  const respond = async (messages: ChatMessage[], more: Partial<ChatRequest> = {}) => {
    const request = { system: '', messages, context: [], citations: true, tools: [tool('knowledge_search')], ...more }
    const events: ChatEvent[] = []
    for await (const event of createOfflineAnswerer().stream(request, new AbortController().signal)) events.push(event)
    return {
      calls: events.flatMap((event) => (event.type === 'tool_call' ? [event.call] : [])),
      text: events.map((event) => (event.type === 'delta' ? event.text : '')).join(''),
      done: events.at(-1),
    }
  }
  const result = formatContext(
    [item(7, 'Salaries are paid on the last Friday.', { sourceName: 'a.md' }), item(9, RULES, { sourceName: 'b.md' })],
    true,
  )
  const quote = '“The terminal gate opens at seven in the morning.”'

  it('searches for the question, once', async () => {
    const first = await respond([question])
    expect(first).toMatchObject({
      calls: [{ id: 'search_1', name: 'knowledge_search', arguments: '{"query":"When does the terminal gate open?"}' }],
      text: '',
      done: { type: 'done', finishReason: 'tool_calls' },
    })
    expect(await respond([question])).toEqual(first)
    const second = await respond([question, searched('search_1'), found('Nothing was found.')])
    expect(second).toMatchObject({ calls: [], text: NOTHING_FOUND, done: { finishReason: 'stop' } })
  })

  it('searches again for the next question, and answers it from its own results', async () => {
    const before: ChatMessage[] = [question, searched('search_1'), found(result), { role: 'assistant', content: 'x' }]
    const next: ChatMessage = { role: 'user', content: 'How much demurrage is charged per day?' }
    const { calls } = await respond([...before, next])
    expect(calls.map((call) => call.id)).toEqual(['search_5'])
    expect((await respond([...before, next, searched('search_5'), found('Nothing was found.')])).text).toBe(
      NOTHING_FOUND,
    )
  })

  it('answers from what the search has found, with its numbers', async () => {
    const messages = [question, searched('search_1'), found(result)]
    expect((await respond(messages)).text).toBe(`${quote} [9]`)
    expect((await respond(messages, { citations: false })).text).toBe(quote)
    // The last step of a run offers no tools.
    expect((await respond(messages, { tools: [] })).text).toBe(`${quote} [9]`)
    const unnumbered = formatContext([item(9, RULES, { sourceName: 'b.md' })], false)
    expect((await respond([question, searched('search_1'), found(unnumbered)])).text).toBe(quote)
  })

  it("uses no other tool, and no other tool's results", async () => {
    expect(
      (await respond([question], { tools: [tool('database_query'), tool('mcp__x__knowledge_search')] })).calls,
    ).toEqual([])
    expect((await respond([question], { tools: [] })).text).toBe(NOTHING_FOUND)
    expect((await respond([question, searched('search_1'), found(result, 'web_scrape')])).text).toBe(NOTHING_FOUND)
    expect((await respond([{ role: 'user', content: '  ' }])).calls).toEqual([])
  })

  it('asks no longer question than the tool takes', async () => {
    const { calls } = await respond([{ role: 'user', content: '🚢'.repeat(3000).slice(1) }])
    const { query } = JSON.parse(calls[0]?.arguments ?? '')
    expect(query).toHaveLength(3999)
    expect(query.isWellFormed()).toBe(false)
    expect(query.endsWith('🚢')).toBe(true)
  })

  it('has a context window', () => {
    expect(createOfflineAnswerer().contextWindow('any')).toBeGreaterThan(16_000)
  })
})

describe('a formatted context', () => {
  it('is read back as it was, as far as it tells', () => {
    const items = [
      item(1, 'One.\n\nStill one.', { sourceName: 'a.md', meta: { heading_path: ['A', 'B'], pages: [2, 3] } }),
      item(3, 'Three.', { sourceName: 'a.md', meta: { pages: [4] } }),
      item(2, '[5]\n\nTwo [1] is\n[4] not four.', { sourceName: 'b.md' }),
    ]
    expect(parseContext(`${formatContext(items, true)}\n\n`)).toEqual([
      { key: 1, text: 'One.\n\nStill one.', sourceName: 'a.md', meta: { heading_path: ['A', 'B'] } },
      { key: 3, text: 'Three.', sourceName: 'a.md', meta: { heading_path: [] } },
      { key: 2, text: '[5]\n\nTwo [1] is\n[4] not four.', sourceName: 'b.md', meta: { heading_path: [] } },
    ])
    expect(parseContext(formatContext(items.slice(0, 2), false))).toEqual([
      { key: 0, text: 'One.\n\nStill one.', sourceName: 'a.md', meta: { heading_path: ['A', 'B'] } },
      { key: 0, text: 'Three.', sourceName: 'a.md', meta: { heading_path: [] } },
    ])
  })

  it('has no item twice, and is empty where there is none', () => {
    expect(parseContext('[1]\na\n\n[1]\nb').map(({ key, text }) => [key, text])).toEqual([[1, 'a\n\n[1]\nb']])
    expect(parseContext('Nothing was found.')).toEqual([])
    expect(parseContext('')).toEqual([])
  })
})
