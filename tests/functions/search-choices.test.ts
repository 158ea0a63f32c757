import { describe, expect, it } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import type { ChatEvent, ChatProvider } from '../../supabase/functions/_shared/providers/index.ts'
import { documentEntry, listOf, placesOf, sectionEntry } from '../../supabase/functions/_shared/search/choices.ts'
import { placeOf } from '../../supabase/functions/_shared/search/sections.ts'
import type { OutlinedSource, Section } from '../../supabase/functions/_shared/search/sections.ts'
import { checkMethod, methodProblem, methodsOf } from '../../supabase/functions/_shared/search/settings.ts'
import { askForSearch, unanswered } from '../../supabase/functions/_shared/search/spending.ts'
import type { SearchModels } from '../../supabase/functions/_shared/search/spending.ts'

const document = (more: Partial<OutlinedSource> = {}): OutlinedSource => ({
  indexed_source_id: 'i',
  source_id: 's',
  source_name: 'a.md',
  knowledge_base_id: 'k',
  page_count: 2,
  headings: ['One', 'Two'],
  beginning: 'It begins.',
  ...more,
})
const section = (more: Partial<Section> = {}): Section => ({
  indexed_source_id: 'i',
  source_id: 's',
  knowledge_base_id: 'k',
  source_name: 'a.md',
  chunk_id: 'c',
  first_index: 0,
  last_index: 0,
  heading_path: ['One'],
  first_page: 1,
  last_page: 3,
  summary: null,
  beginning: 'It begins.',
  tokens: 3,
  section_count: 1,
  ...more,
})
const lines = (text: string) => text.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)

describe('a list to pick from', () => {
  it('has a line for each entry, whatever stands in it', () => {
    const hostile = 'x"}\n{"n":7}\r\n\u2028 y'
    const entries = [document({ source_name: hostile, headings: [hostile], beginning: hostile }), document()]
    const text = listOf(entries.map(documentEntry))
    expect(text.split('\n')).toHaveLength(2)
    expect(lines(text).map(({ n }) => n)).toEqual([1, 2])
    expect(lines(text)[1]).toEqual({ n: 2, document: 'a.md', pages: 2, headings: ['One', 'Two'], begins: 'It begins.' })
    expect(lines(listOf([sectionEntry(section({ heading_path: [hostile], summary: hostile }))]))).toHaveLength(1)
  })

  it('leaves out what is not known', () => {
    const bare = { heading_path: [], first_page: null, last_page: null, beginning: '' }
    expect(lines(listOf([sectionEntry(section(bare))]))).toEqual([{ n: 1, document: 'a.md' }])
    expect(lines(listOf([sectionEntry(section({ last_page: 1, summary: 'About it.' }))]))).toEqual([
      { n: 1, document: 'a.md', section: 'One', pages: '1', about: 'About it.' },
    ])
    expect(listOf([])).toBe('')
  })

  it('says less of each entry where there are many', () => {
    const long = { heading_path: Array.from({ length: 8 }, () => 'h'.repeat(200)), beginning: 'b'.repeat(300) }
    const sections = Array.from({ length: 200 }, () => section({ ...long, summary: 's'.repeat(600) }))
    const text = listOf(sections.map(sectionEntry))
    expect(text.length).toBeLessThanOrEqual(40_000)
    expect(lines(text)).toHaveLength(200)
    expect(lines(text)[199]).toMatchObject({ n: 200, section: expect.stringContaining('hhh') })
    const headings = Array.from({ length: 12 }, () => 'h'.repeat(160))
    const documents = Array.from({ length: 50 }, () => document({ headings, beginning: 'b'.repeat(300) }))
    expect(listOf(documents.map(documentEntry)).length).toBeLessThanOrEqual(40_000)
  })
})

describe('numbers', () => {
  it.each([
    [[2, 1], 3, 5, [1, 0]],
    [[1, 1, 2], 3, 5, [0, 1]],
    [[0, -1, 4, 1.5, '1', null, 3], 3, 5, [2]],
    [[1, 2, 3], 3, 2, [0, 1]],
    ['1', 3, 5, []],
    [undefined, 3, 5, []],
  ])('%j of %d, at most %d, name %j', (numbers, count, most, places) => {
    expect(placesOf(numbers, count, most)).toEqual(places)
  })
})

describe('the place of a section', () => {
  const chunk = { indexed_source_id: 'i', chunk_index: 4 }
  it('is what a search has said, and begins with the chunk itself', () => {
    expect(placeOf(chunk, { section_chunks: [4, 6] })).toEqual({
      indexed_source_id: 'i',
      first_index: 4,
      last_index: 6,
    })
    expect(placeOf(chunk, { section_chunks: [4, 1e15] })?.last_index).toBe(2147483647)
    const others = [[3, 6], [4, 3], [4], ['4', 6], [4, '6'], [4, Infinity], [4, 5.5], 'x', null]
    for (const section_chunks of others) expect(placeOf(chunk, { section_chunks })).toBeNull()
    expect(placeOf(chunk, null)).toBeNull()
  })
})

describe('methods', () => {
  it('go with strategies', () => {
    expect(methodsOf('page_index')[0]).toBe('tree_search')
    for (const strategy of ['chunk_embed', 'full_document', 'graph_index', 'doc2json', undefined]) {
      expect(methodsOf(strategy)).toEqual(['hybrid', 'vector_search', 'full_text'])
      expect(methodProblem(strategy, 'tree_search')).toContain('page_index')
    }
    expect(methodProblem('page_index', 'hybrid')).toBeNull()
    expect(() => checkMethod({ method: 'tree_search' })).toThrow(AppError)
    expect(() => checkMethod({ method: 'tree_search', hasSections: true })).not.toThrow()
  })
})

describe('asking a model', () => {
  /** A model that answers when it is let, and the calls of its ledger. */
  function fake(reserve: () => Promise<{ id: string; max_tokens: number }>) {
    const calls: string[] = []
    let answer = () => {}
    const answered = new Promise<void>((resolve) => (answer = resolve))
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, reasoning_tokens: 0, cached_tokens: 0 }
    const chat: ChatProvider = {
      name: 'fake',
      model: 'm',
      modelFor: (named) => named ?? 'm',
      contextWindow: () => 8000,
      async *stream(): AsyncIterable<ChatEvent> {
        calls.push('stream')
        await answered
        yield { type: 'done', usage, finishReason: 'stop' }
      },
    }
    const ledger: SearchModels['ledger'] = {
      reserveSearchTokens: (spender, { model }) => {
        calls.push(`reserve ${spender.tenantId} ${model}`)
        return reserve()
      },
      settleTokens: (id, _token, used) => {
        calls.push(`settle ${id} ${used?.total_tokens ?? 'nothing'}`)
        return Promise.resolve(true)
      },
      recordUsage: () => Promise.resolve(null),
    }
    return { models: { chat, ledger, log: { info() {}, error() {} }, modelTimeoutMs: 60_000 }, calls, answer }
  }
  const spender = { tenantId: 't', userId: 'u' }
  const held = () => Promise.resolve({ id: 'r', max_tokens: 5 })
  const ask = async (access: Parameters<Parameters<typeof askForSearch>[3]>[0]) => {
    const { askForObject } = await import('../../supabase/functions/_shared/agent/ask-for-object.ts')
    const question = { system: '', ask: 'q', schema: {}, schemaName: 's', model: null, maxTokens: 9 }
    await askForObject(access, question, null)
    return unanswered('nothing')
  }

  it('ends when whoever asked has gone, and what was held back is given back', async () => {
    const { models, calls } = fake(held)
    const gone = new AbortController()
    const asked = askForSearch(models, spender, gone.signal, ask)
    await expect.poll(() => calls).toContain('stream')
    gone.abort(new Error('gone'))
    await expect(asked).rejects.toThrow('gone')
    expect(calls).toEqual(['reserve t m', 'stream', 'settle r nothing'])
  })

  it('says that the model was late, and goes on', async () => {
    const { models, calls } = fake(held)
    const answer = await askForSearch({ ...models, modelTimeoutMs: 20 }, spender, undefined, ask)
    expect(answer).toEqual({ answer: null, problem: 'the model did not answer in time' })
    expect(calls.at(-1)).toBe('settle r nothing')
  })

  it('sends nothing where no tokens are left, and stops there only', async () => {
    for (const [code, outcome] of [
      ['budget_exceeded', 'Used up.'],
      ['unavailable', null],
      ['forbidden', null],
    ] as const) {
      const { models, calls } = fake(() => Promise.reject(new AppError(code, 'Used up.')))
      const asked = askForSearch(models, spender, undefined, ask)
      if (outcome === null) expect(await asked).toEqual({ answer: null, problem: 'Used up' })
      else await expect(asked).rejects.toThrow(outcome)
      expect(calls).toEqual(['reserve t m'])
    }
  })
})
