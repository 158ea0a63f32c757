import { describe, expect, it } from 'vitest'
import type { ObjectAnswer } from '../../supabase/functions/_shared/agent/ask-for-object.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { chunkPages } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { hashChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import type { HashedChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import { LeaseLostError } from '../../supabase/functions/_shared/ingestion/failures.ts'
import { strategyOf } from '../../supabase/functions/_shared/ingestion/strategies/index.ts'
import { fitRecord, mergeRecords } from '../../supabase/functions/_shared/ingestion/strategies/record.ts'
import { sectionsOf } from '../../supabase/functions/_shared/ingestion/strategies/sections.ts'
import type {
  IndexingModel,
  IndexingStrategy,
  ShownAnswer,
} from '../../supabase/functions/_shared/ingestion/strategies/strategy.ts'
import { windowsOf } from '../../supabase/functions/_shared/ingestion/strategies/windows.ts'
import { indexingConfig } from '../../supabase/functions/_shared/strategies.ts'
import type { RecordField } from '../../supabase/functions/_shared/strategies.ts'

const NEVER = new AbortController().signal
const answered = (object: Record<string, unknown>): ObjectAnswer => ({ object, error: null, note: null })
const unanswered = (code: string): ObjectAnswer => ({ object: null, error: { code, message: '' }, note: null })
const overloaded = () =>
  new AppError('upstream_failed', 'x', { cause: Object.assign(new Error('HTTP 503'), { status: 503 }) })
const refused = (status: number) =>
  new AppError('upstream_failed', 'x', { cause: Object.assign(new Error(), { status }) })

type Asked = {
  system: string
  ask: string
  text: string
  fields: string[]
  maxTokens: number
  model: string | null
  pagesShown: number[]
}
type Answer = (asked: Asked) => ObjectAnswer | Promise<ObjectAnswer | ShownAnswer>

/** A model that answers as it is told to, and what was asked and said. */
function modelThat(answer: Answer, isLastTry = false, { pagesDrawn = [] as number[], takesImages = false } = {}) {
  const asked: Asked[] = []
  const counts: Record<string, number> = {}
  const notes: string[] = []
  const model: IndexingModel = {
    chat: {
      name: 'fake',
      model: 'fake',
      modelFor: (name) => name ?? 'fake',
      contextWindow: () => 100_000,
      takesImages,
      // eslint-disable-next-line require-yield
      stream: async function* () {
        throw new Error('not called')
      },
    },
    documentName: 'tariff.md',
    pageImages: pagesDrawn.map((number) => ({
      storage_path: `pages/${number}.png`,
      page: number,
      format: 'png',
      metadata: { width: 600, height: 800, dpi: 72 },
    })),
    isLastTry,
    ask: async ({ system, ask, schema, maxTokens, model: named }, document, images = []) => {
      const fields = Object.keys(schema['properties'] as object)
      const pagesShown = images.map((image) => image.page)
      const question = { system, ask, text: document.text, fields, maxTokens, model: named, pagesShown }
      asked.push(question)
      return { shown: images, ...(await answer(question)) }
    },
    count: (name, by = 1) => void (counts[name] = (counts[name] ?? 0) + by),
    note: (text) => void notes.push(text),
  }
  return { model, asked, counts, notes }
}

const page = (text: string, page_number = 1) => ({ page_number, text })
const chunksOf = (...texts: string[]): HashedChunk[] =>
  chunkPages(
    texts.map((text, index) => page(text, index + 1)),
    { chunkSize: 60, overlap: 0 },
  ).map(hashChunk)
const words = (count: number, word = 'berth') => Array.from({ length: count }, (_, i) => `${word}${i}`).join(' ')

describe('settings', () => {
  it('get the defaults of their strategy, and keep what is not known', () => {
    expect(indexingConfig.parse({})).toEqual({ strategy: 'chunk_embed', chunk_size: 400, overlap: 50 })
    expect(indexingConfig.parse({ strategy: 'page_index', colour: 'red', model: null })).toEqual({
      strategy: 'page_index',
      chunk_size: 400,
      overlap: 50,
      if_add_node_summary: 'yes',
      colour: 'red',
      model: null,
    })
    const json_schema = { fields: [{ name: 'berth', type: 'number' }] }
    expect(indexingConfig.parse({ strategy: 'doc2json', json_schema, window_size: 400 })).toEqual({
      strategy: 'doc2json',
      json_schema: { fields: [{ name: 'berth', description: '', type: 'number' }] },
      window_size: 400,
      window_overlap: 100,
      use_images: false,
      pages_per_window: 3,
    })
  })

  it('nested under extra are those beside it', () => {
    const form = { fields: [{ name: 'total', type: 'number' }] }
    const records = { strategy: 'doc2json', extra: { json_schema: form, extraction_model: 'm', window_size: 400 } }
    expect(indexingConfig.parse({ ...records, extraction_model: 'n' })).toMatchObject({
      json_schema: { fields: [{ name: 'total', description: '', type: 'number' }] },
      extraction_model: 'n',
      window_size: 400,
      window_overlap: 100,
    })
    expect(strategyOf(records)?.settings).toEqual(strategyOf(indexingConfig.parse(records))?.settings)
    expect(indexingConfig.safeParse({ strategy: 'doc2json', extra: { json_schema: { fields: [] } } }).success).toBe(
      false,
    )
    const named = { strategy: 'graph_index', extra: { enrichment_model: 'namer' } }
    expect(strategyOf(named)?.settings).toEqual(['graph_index', 'namer'])
    const parsed = indexingConfig.parse({ strategy: 'page_index', extra: { if_add_node_summary: 'no', model: 'm' } })
    expect(parsed).toMatchObject({ if_add_node_summary: 'no', model: 'm' })
    expect(strategyOf(parsed)).toBeNull()
    expect(strategyOf({ strategy: 'page_index', extra: { if_add_node_summary: 'no' } })).toBeNull()
    expect(strategyOf({ strategy: 'page_index' })).not.toBeNull()
  })

  it.each([
    [{ strategy: 'doc2json' }, 'json_schema is required'],
    [{ strategy: 'doc2json', json_schema: { fields: [] } }, 'at least one field'],
    [{ strategy: 'doc2json', json_schema: { properties: {} } }, 'json_schema.fields must be a list'],
    [{ json_schema: { fields: [{ name: '__proto__' }] } }, 'A field name is a letter'],
    [{ json_schema: { fields: [{ name: 'constructor' }] } }, 'reserved'],
    [{ json_schema: { fields: [{ name: 'a' }, { name: 'A' }] } }, 'the same name'],
    [{ json_schema: { fields: [{ name: 'a', type: 'date' }] } }, 'The type of a field of json_schema is one of text'],
    [
      { json_schema: { fields: Array.from({ length: 51 }, (_, i) => ({ name: `f${i}` })) } },
      'json_schema.fields may have at most 50',
    ],
    [
      {
        json_schema: {
          fields: Array.from({ length: 50 }, (_, i) => ({ name: `f${i}`, description: 'x'.repeat(1000) })),
        },
      },
      'json_schema may have at most 20000 characters',
    ],
    [{ strategy: 'doc2json', json_schema: { fields: [{ name: 'a' }] }, window_overlap: 2001 }, 'half of window_size'],
    [{ if_add_node_summary: true }, 'if_add_node_summary is "yes" or "no"'],
    [{ strategy: 'tree' }, 'Unknown strategy'],
  ])('refuse %j', (config, message) => {
    const parsed = indexingConfig.safeParse(config)
    expect(parsed.error?.issues.map((issue) => issue.message).join()).toContain(message)
  })

  it('that nobody checked are read as far as they are usable', () => {
    expect(() => strategyOf({ strategy: 'doc2json', json_schema: 'x' })).toThrow('json_schema')
    expect(() => strategyOf({ strategy: 'doc2json', json_schema: { fields: [{ name: '__proto__' }] } })).toThrow()
    expect(strategyOf({ strategy: 'page_index', model: { a: 1 }, extra: 'x' })?.settings).toEqual(['page_index', null])
    expect(strategyOf({ strategy: 'full_document', summary_model: { a: 1 } })).toBeNull()
    expect(strategyOf({ strategy: 'graph_index', if_add_node_summary: true })?.settings).toEqual(['graph_index', null])
    for (const strategy of ['chunk_embed', 'full_document', 'toString', undefined, 5])
      expect(strategyOf({ strategy })).toBeNull()
  })
})

describe('windows', () => {
  const text = Array.from({ length: 40 }, (_, i) => `Paragraph ${i}: ${words(12)}.`).join('\n\n')

  it('cover the text, overlap, and end where a paragraph does', () => {
    const windows = windowsOf(text, { size: 300, overlap: 40, maxChars: 100_000 })
    expect(windows.length).toBeGreaterThan(3)
    expect([windows[0]?.start, windows.at(-1)?.end]).toEqual([0, text.length])
    for (const [index, { start, end }] of windows.entries()) {
      const next = windows[index + 1]
      if (!next) continue
      expect(text.slice(end - 2, end)).toBe('\n\n')
      expect(next.start).toBeLessThan(end)
      expect(next.start).toBeGreaterThan(start)
    }
  })

  it('have at most so many characters, split no character, and leave out what is white', () => {
    const narrow = windowsOf(text, { size: 300, overlap: 0, maxChars: 100 })
    expect(Math.max(...narrow.map(({ start, end }) => end - start))).toBeLessThanOrEqual(100)
    const emoji = '😀'.repeat(500)
    for (const { start, end } of windowsOf(emoji, { size: 7, overlap: 2, maxChars: 11 }))
      expect(emoji.slice(start, end).isWellFormed()).toBe(true)
    expect(windowsOf(' \n '.repeat(900), { size: 20, overlap: 0, maxChars: 100 })).toEqual([])
    expect(windowsOf('', { size: 20, overlap: 0, maxChars: 100 })).toEqual([])
    expect(windowsOf('a', { size: 20, overlap: 10, maxChars: 100 })).toEqual([{ start: 0, end: 1 }])
  })
})

describe('records', () => {
  const fields: RecordField[] = [
    { name: 'port', description: '', type: 'text' },
    { name: 'berth', description: '', type: 'integer' },
    { name: 'open', description: '', type: 'boolean' },
    { name: 'ships', description: '', type: 'list' },
  ]

  it('take the first value that is there, and all items of lists once', () => {
    const merged = mergeRecords(fields, [
      { port: ' ', berth: null, open: null, ships: ['Ada', ' Ada ', ''] },
      { port: 'Oslo', berth: 4, open: false, ships: null },
      { port: 'Bergen', berth: 5, open: true, ships: ['Bea', 'Ada'] },
    ])
    expect(merged).toEqual({ port: 'Oslo', berth: 4, open: false, ships: ['Ada', 'Bea'] })
    expect(mergeRecords(fields, [])).toEqual({ port: null, berth: null, open: null, ships: null })
    expect(mergeRecords(fields, [{ port: 5, berth: 'x', open: 'true', ships: 'Ada' }])).toEqual({
      port: null,
      berth: null,
      open: null,
      ships: ['Ada'],
    })
  })

  it('are written out line by line, and cut until they fit', () => {
    expect(fitRecord({ port: 'Oslo\nberth: 9', berth: 4, open: null, ships: ['Ada', 'Bea'] })).toMatchObject({
      text: 'port: Oslo berth: 9\nberth: 4\nships: Ada; Bea',
      isCut: false,
    })
    const long = mergeRecords(fields, [
      { port: '港'.repeat(9000), ships: Array.from({ length: 500 }, (_, i) => words(60, `s${i}`)) },
    ])
    expect([String(long['port']).length, (long['ships'] as string[]).length]).toEqual([2000, 200])
    const fitted = fitRecord({ ...long, berth: 4 })
    expect(fitted).toMatchObject({ isCut: true, record: { berth: 4 } })
    expect(fitted.tokens).toBeLessThanOrEqual(4000)
    expect((fitted.record['ships'] as string[]).length).toBeGreaterThan(0)
  })
})

describe('sections', () => {
  it('are runs under the same headings', () => {
    const chunks = chunksOf(`Before.\n\n# One\n\n${words(80)}\n\n## Part\n\n${words(40)}\n\n# Two\n\n${words(40)}`)
    const titles = sectionsOf(chunks).map((section) => section[0]?.meta.heading_path)
    expect(titles).toEqual([[], ['One'], ['One', 'Part'], ['Two']])
    expect(sectionsOf(chunks).flat()).toEqual(chunks)
    expect(sectionsOf([])).toEqual([])
  })

  it('are pages where there are no headings', () => {
    const chunks = chunksOf(words(150), words(20), words(150))
    expect(sectionsOf(chunks).map((section) => section[0]?.meta.pages[0])).toEqual([1, 2, 3])
  })
})

describe('page_index', () => {
  const strategy = strategyOf({ strategy: 'page_index', model: 'big' }) as IndexingStrategy
  const annotate = strategy.annotate!
  const chunks = chunksOf(`# One\n\n${words(120)}\n\n# Two\n\n${words(90, 'crane')}\n\n# Three\n\nShort.`)
  const sectionSummaries = (list: HashedChunk[]) =>
    list.flatMap(({ meta }) => ('section_summary' in meta ? [meta['section_summary']] : []))

  it('summarizes each section on its first chunk, small ones together, and short ones by themselves', async () => {
    const { model, asked, counts } = modelThat(({ fields }) =>
      answered(Object.fromEntries(fields.map((name) => [name, `About ${name}\n in   short.`]))),
    )
    const annotated = await annotate(chunks, chunks, model, NEVER)
    expect(sectionSummaries(annotated)).toEqual([
      'About section_1 in short.',
      'About section_2 in short.',
      'Three Short.',
    ])
    expect(annotated.map(({ meta: _, ...rest }) => rest)).toEqual(chunks.map(({ meta: _, ...rest }) => rest))
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({ model: 'big', fields: ['section_1', 'section_2'] })
    expect(asked[0]?.system).not.toContain('berth1')
    expect(asked[0]?.text).toContain('crane89')
    expect(counts).toEqual({ section_summaries: 3 })
  })

  it('asks once about a section that goes on in the next batch', async () => {
    const { model, asked } = modelThat(() => answered({ section_1: 'One.' }))
    const first = await annotate(chunks.slice(0, 1), chunks, model, NEVER)
    const second = await annotate(chunks.slice(1, 2), chunks, model, NEVER)
    expect([sectionSummaries(first), sectionSummaries(second), asked.length]).toEqual([['One.'], [], 1])
    expect(asked[0]?.text).toContain('berth119')
  })

  it.each<[string, Answer]>([
    ['an answer that does not fit', () => unanswered('invalid_answer')],
    ['no summary', ({ fields }) => answered(Object.fromEntries(fields.map((name) => [name, null])))],
    ['a refusal of what was sent', () => Promise.reject(refused(400))],
  ])('goes without summaries for %s', async (_, answer) => {
    const { model, counts } = modelThat(answer)
    expect(sectionSummaries(await annotate(chunks, chunks, model, NEVER))).toEqual(['Three Short.'])
    expect(counts).toMatchObject({ sections_without_summary: 2 })
  })

  it.each([
    ['a provider that is down', overloaded()],
    ['a provider that wants another key', refused(401)],
    ['a lost lease', new LeaseLostError('x')],
  ])('does not go on after %s', async (_, error) => {
    await expect(annotate(chunks, chunks, modelThat(() => Promise.reject(error)).model, NEVER)).rejects.toBe(error)
  })

  it('goes without summaries when the provider is down at the last try, but not without a lease', async () => {
    const { model } = modelThat(() => Promise.reject(overloaded()), true)
    expect(sectionSummaries(await annotate(chunks, chunks, model, NEVER))).toEqual(['Three Short.'])
    const lost = modelThat(() => Promise.reject(new LeaseLostError('x')), true)
    await expect(annotate(chunks, chunks, lost.model, NEVER)).rejects.toThrow(LeaseLostError)
  })

  it('keeps summaries short and storable, whatever the document has the model write', async () => {
    const { model, asked } = modelThat(() => answered({ section_1: words(900), section_2: `${'😀'.repeat(500)}` }))
    const [first, second] = sectionSummaries(await annotate(chunks, chunks, model, NEVER)) as string[]
    expect(first?.split(' ')).toHaveLength(60)
    expect(second?.length).toBeLessThanOrEqual(600)
    expect(second?.isWellFormed()).toBe(true)
    expect(asked[0]?.maxTokens).toBeLessThan(5000)
  })

  it('reads only so much of one section, and asks about so many', async () => {
    const long = chunksOf(`# Long\n\n${words(9000)}`)
    const one = modelThat(() => answered({ section_1: 'Long.' }))
    await annotate(long.slice(0, 1), long, one.model, NEVER)
    expect(one.asked[0]?.text.length).toBeLessThan(17_000)
    const many = chunksOf(Array.from({ length: 700 }, (_, i) => `# S${i}\n\n${words(61)}`).join('\n\n'))
    const { model, asked, counts, notes } = modelThat(({ fields }) =>
      answered(Object.fromEntries(fields.map((name) => [name, 'x']))),
    )
    await annotate(many, many, model, NEVER)
    expect(counts).toEqual({ section_summaries: 500, sections_without_summary: 200 })
    expect(asked.length).toBeLessThan(100)
    expect(new Set(notes)).toEqual(new Set(['Only the first 500 sections of a document are summarized.']))
  })
})

describe('graph_index', () => {
  const chunks = chunksOf(words(21), words(21, 'crane'))
  const config = { strategy: 'graph_index', enrichment_model: 'namer' }

  it('asks for summaries of passages where it is told to, in the same question, and embeds them with the passage', async () => {
    const summarizing = strategyOf({ ...config, extra: { if_add_node_summary: 'yes' } }) as IndexingStrategy
    const { model, asked, counts } = modelThat(() =>
      answered({
        passage_1: ['Otto'],
        passage_1_summary: ' Tells\nof  berths. ',
        passage_2: [],
        passage_2_summary: null,
      }),
    )
    const [first, second] = await summarizing.annotate!(chunks, chunks, model, NEVER)
    expect(first).toMatchObject({
      ...chunks[0],
      meta: { ...chunks[0]?.meta, entities: ['Otto'], node_summary: 'Tells of berths.' },
      embedded: `Tells of berths.\n\n${chunks[0]?.embedded}`,
    })
    expect(second).toEqual({ ...chunks[1], meta: { ...chunks[1]?.meta, entities: [] } })
    expect(asked).toHaveLength(1)
    expect(asked[0]?.fields).toEqual(['passage_1', 'passage_1_summary', 'passage_2', 'passage_2_summary'])
    expect(counts).toEqual({ entities: 1, node_summaries: 1 })
  })

  it.each([{}, { if_add_node_summary: 'no' }, { if_add_node_summary: 'maybe' }])(
    'asks for none with %j',
    async (also) => {
      const plain = strategyOf({ ...config, ...also }) as IndexingStrategy
      const { model, asked } = modelThat(() => answered({ passage_1: [], passage_2: [] }))
      const [first] = await plain.annotate!(chunks, chunks, model, NEVER)
      expect(asked[0]?.fields).toEqual(['passage_1', 'passage_2'])
      expect(asked[0]?.system).not.toContain('_summary')
      expect(plain.settings).toEqual(['graph_index', 'namer'])
      expect(strategyOf({ ...config, if_add_node_summary: 'yes' })?.settings).not.toEqual(plain.settings)
      expect(first?.embedded).toBe(chunks[0]?.embedded)
    },
  )
})

describe('full_document', () => {
  const config = { strategy: 'full_document', summary_model: 'small' }
  const { extend, annotate, divide, withoutModel } = strategyOf(config) as IndexingStrategy
  const pages = [page(`# Lease\n\n${words(300)}`), page(words(40, 'crane'), 2)]
  const chunks = chunksOf(...pages.map(({ text }) => text))
  const keeping = (known = new Map<string, Record<string, unknown>>()) => {
    const kept: [string, Record<string, unknown>][] = []
    const keep = async (_: number, hash: string, answer: Record<string, unknown>) => void kept.push([hash, answer])
    return { kept, known, keep }
  }

  it('adds one chunk, found by the summary, whose text and span are the beginning of the document', async () => {
    expect([annotate, divide, withoutModel]).toEqual([undefined, undefined, 'skip'])
    const { model, asked, counts, notes } = modelThat(() => answered({ summary: 'A lease\nof a  zeppelin.' }))
    const answers = keeping()
    const [chunk, ...others] = await extend!(pages, chunks, model, answers, NEVER)
    expect(others).toEqual([])
    expect(chunk).toMatchObject({
      chunk_index: chunks.length,
      start_char: 0,
      meta: { pages: [1], heading_path: [], document_summary: 'A lease of a zeppelin.' },
      embedded: `A lease of a zeppelin.\n\n${chunk?.text}`,
    })
    expect(chunk?.text).toBe(pages[0]!.text.slice(0, chunk?.end_char))
    expect(chunk?.text.length).toBeGreaterThan(200)
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({ model: 'small', fields: ['summary'] })
    expect(asked[0]?.text).toBe(pages.map(({ text }) => text).join('\n\n'))
    expect(asked[0]?.system).not.toContain('berth')
    expect([counts, notes]).toEqual([{ document_summaries: 1 }, []])
    // What was kept is not asked for again, unless another model is to be asked or the document has changed.
    const again = modelThat(() => answered({ summary: 'Other.' }))
    const known = new Map(answers.kept)
    expect(await extend!(pages, chunks, again.model, keeping(known), NEVER)).toEqual([chunk])
    expect(again.asked).toEqual([])
    const other = strategyOf({ ...config, summary_model: 'big' }) as IndexingStrategy
    const [changed] = await other.extend!(pages, chunks, again.model, keeping(known), NEVER)
    await extend!([...pages, page('more', 3)], chunks, again.model, keeping(known), NEVER)
    expect(again.asked).toHaveLength(2)
    expect(changed?.content_hash).not.toBe(chunk?.content_hash)
  })

  it('reads the first 32,000 tokens, and says so', async () => {
    const { model, asked, notes } = modelThat(() => answered({ summary: 'Long.' }))
    const long = page(words(30_000))
    await extend!([long], chunksOf('Short.'), model, keeping(), NEVER)
    expect(asked[0]?.text.length).toBeGreaterThan(90_000)
    expect(asked[0]?.text.length).toBeLessThanOrEqual(128_000)
    expect(long.text.startsWith(asked[0]!.text)).toBe(true)
    expect(notes).toEqual(['The summary is of the beginning of the document.'])
  })

  it.each<[string, Answer, string]>([
    ['an answer that does not fit', () => unanswered('invalid_answer'), 'invalid_answer'],
    ['a refusal of what was sent', () => Promise.reject(refused(400)), 'provider_refused'],
    ['nothing to summarize', () => answered({ summary: ' ' }), 'the model wrote none'],
  ])('goes without for %s', async (_, answer, reason) => {
    const { model, notes, counts } = modelThat(answer)
    const answers = keeping()
    expect(await extend!(pages, chunks, model, answers, NEVER)).toEqual([])
    expect(notes).toEqual([`The document has no summary: ${reason}.`])
    expect([counts, answers.kept]).toEqual([{}, []])
  })

  it('waits for a provider that is down, except at the last try, and keeps nothing long', async () => {
    const down: Answer = () => Promise.reject(overloaded())
    await expect(extend!(pages, chunks, modelThat(down).model, keeping(), NEVER)).rejects.toThrow()
    expect(await extend!(pages, chunks, modelThat(down, true).model, keeping(), NEVER)).toEqual([])
    const { model } = modelThat(() => answered({ summary: `${words(900)} ${'😀'.repeat(5000)}` }))
    const [chunk] = await extend!(pages, chunks, model, keeping(), NEVER)
    expect(String(chunk?.meta['document_summary']).split(' ')).toHaveLength(200)
  })
})

describe('doc2json', () => {
  const json_schema = {
    fields: [
      { name: 'port', description: 'Name of the port.', type: 'text' },
      { name: 'ships', type: 'list' },
    ],
  }
  const config = { strategy: 'doc2json', json_schema, window_size: 200, window_overlap: 20 }
  const divide = (strategy = strategyOf(config)) => strategy!.divide!
  const pages = [page(`Oslo. ${words(120)}`), page(`Ada sails. ${words(120)}`, 2)]
  /** Answers that are kept, as the ledger keeps them. */
  const keeping = (known = new Map<string, Record<string, unknown>>()) => {
    const kept: [string, Record<string, unknown>][] = []
    return {
      kept,
      known,
      keep: async (_index: number, hash: string, answer: Record<string, unknown>) => void kept.push([hash, answer]),
    }
  }
  const reading: Answer = ({ text }) =>
    answered({ port: text.includes('Oslo') ? 'Oslo' : null, ships: text.includes('Ada') ? ['Ada'] : [] })

  it('makes one record of all windows, with the pages and the span of the document', async () => {
    const { model, asked, counts, notes } = modelThat(reading)
    const answers = keeping()
    const [chunk, ...others] = await divide()(pages, model, answers, NEVER)
    expect(others).toEqual([])
    expect(chunk).toMatchObject({
      chunk_index: 0,
      text: 'port: Oslo\nships: Ada',
      embedded: 'port: Oslo\nships: Ada',
      start_char: 0,
      end_char: pages[0]!.text.length + 2 + pages[1]!.text.length,
      meta: { pages: [1, 2], heading_path: [], record: { port: 'Oslo', ships: ['Ada'] } },
    })
    expect(asked.length).toBeGreaterThan(2)
    expect(answers.kept).toHaveLength(asked.length)
    expect(counts).toEqual({ windows: asked.length, windows_reused: 0 })
    expect(notes).toEqual([])
    expect(asked[0]?.system).toContain('- port (text): Name of the port.\n- ships (list of texts)')
    expect(asked[0]?.system).not.toContain('Oslo')
  })

  it('asks again only about windows whose answer was not kept, and about all with another form', async () => {
    const first = keeping()
    let calls = 0
    const failing = modelThat((asked) => (++calls === 2 ? Promise.reject(overloaded()) : reading(asked)))
    await expect(divide()(pages, failing.model, first, NEVER)).rejects.toThrow()
    expect(first.kept.length).toBeGreaterThan(0)
    const second = modelThat(reading)
    const [chunk] = await divide()(pages, second.model, keeping(new Map(first.kept)), NEVER)
    expect(chunk?.meta['record']).toEqual({ port: 'Oslo', ships: ['Ada'] })
    expect(second.counts['windows_reused']).toBe(first.kept.length)
    expect(second.asked).toHaveLength(second.counts['windows']! - first.kept.length)
    const third = modelThat(({ fields }) => answered(Object.fromEntries(fields.map((name) => [name, null]))))
    const other = strategyOf({ ...config, json_schema: { fields: [{ name: 'berth' }] } })
    const [changed] = await divide(other)(pages, third.model, keeping(new Map(first.kept)), NEVER)
    expect(third.counts['windows_reused']).toBe(0)
    expect(changed?.content_hash).not.toBe(chunk?.content_hash)
  })

  it('says which windows went without an answer, and fails when all did', async () => {
    let calls = 0
    const { model, counts, notes } = modelThat((asked) =>
      ++calls === 1 ? unanswered('answer_cut_off') : reading(asked),
    )
    const [chunk] = await divide()(pages, model, keeping(), NEVER)
    expect(chunk?.meta['record']).toEqual({ port: null, ships: ['Ada'] })
    expect(counts).toMatchObject({ windows_failed: 1 })
    expect(notes).toEqual([expect.stringMatching(/^Part 1 of \d+ is not in the record: answer_cut_off\.$/)])
    const none = modelThat(() => unanswered('invalid_answer')).model
    await expect(divide()(pages, none, keeping(), NEVER)).rejects.toMatchObject({ reasonCode: 'no_usable_answer' })
  })

  it('waits for a provider that is down, and makes do with what there is at the last try', async () => {
    let calls = 0
    const second: Answer = (asked) => (++calls === 2 ? Promise.reject(overloaded()) : reading(asked))
    await expect(divide()(pages, modelThat(second).model, keeping(), NEVER)).rejects.toMatchObject({
      code: 'upstream_failed',
    })
    calls = 0
    const last = modelThat(second, true)
    await divide()(pages, last.model, keeping(), NEVER)
    expect(last.notes).toEqual([expect.stringContaining('provider_failed')])
    const none = modelThat(() => Promise.reject(overloaded()), true).model
    await expect(divide()(pages, none, keeping(), NEVER)).rejects.toMatchObject({ code: 'upstream_failed' })
  })

  describe('with images of pages', () => {
    const illustrated = strategyOf({ ...config, use_images: true, pages_per_window: 2 })
    const document = Array.from({ length: 5 }, (_, index) => page(index === 2 ? '' : `Page ${index + 1}.`, index + 1))
    const shown = (...pagesDrawn: number[]) => modelThat(reading, false, { pagesDrawn, takesImages: true })

    it('asks about so many pages at once, and shows them with their text', async () => {
      const { model, asked, counts, notes } = shown(1, 2, 3, 4, 5)
      const answers = keeping()
      const [chunk] = await divide(illustrated)(document, model, answers, NEVER)
      expect(asked.map(({ text, pagesShown }) => [text, pagesShown])).toEqual([
        ['Page 1.\n\nPage 2.', [1, 2]],
        ['\n\nPage 4.', [3, 4]],
        ['Page 5.', [5]],
      ])
      expect(asked[0]?.system).toContain('Images of the pages')
      expect(chunk?.meta).toMatchObject({ pages: [1, 2, 3, 4, 5], record: { ships: null } })
      expect([counts, notes]).toEqual([
        { windows: 3, windows_reused: 0 },
        ['The document says nothing about any of the fields.'],
      ])
      // Pages that were drawn anew are asked about anew.
      const again = shown(1, 2, 3, 4)
      await divide(illustrated)(document, again.model, keeping(new Map(answers.kept)), NEVER)
      expect(again.asked.map(({ pagesShown }) => pagesShown)).toEqual([[]])
      expect(again.notes[0]).toBe('Of 1 of the pages there is no image: their text alone was read.')
    })

    it('asks about pages without text, not about those that have no image either, and shows eight at most', async () => {
      const { model, asked } = shown(3)
      const many = Array.from({ length: 20 }, (_, index) => page(index < 16 ? '' : 'x', index + 1))
      await divide(strategyOf({ ...config, use_images: true, pages_per_window: 100 }))(many, model, keeping(), NEVER)
      expect(asked.map(({ text, pagesShown }) => [text.trim(), pagesShown])).toEqual([
        ['', [3]],
        ['x\n\nx\n\nx\n\nx', []],
      ])
      const none = divide(illustrated)(
        Array.from({ length: 500 }, (_, i) => page('x', i + 1)),
        shown(1).model,
        keeping(),
        NEVER,
      )
      await expect(none).rejects.toMatchObject({
        reason: 'limit_exceeded',
        message: expect.stringContaining('2 pages'),
      })
    })

    it.each([
      [{ pagesDrawn: [], takesImages: true }, 'There are no images of the pages of this document'],
      [{ pagesDrawn: [], takesImages: false }, 'The model takes no images'],
    ])('reads the text alone, and says so, with %j', async (what, note) => {
      const { model, asked, notes } = modelThat(reading, false, what)
      await divide(illustrated)(pages, model, keeping(), NEVER)
      expect(notes[0]).toContain(note)
      const plain = modelThat(reading)
      await divide()(pages, plain.model, keeping(), NEVER)
      expect(asked).toEqual(plain.asked)
      expect(plain.notes).toEqual([])
    })
  })

  it('keeps an item for a document that says nothing of it, and none for one without text', async () => {
    const { model, notes } = modelThat(() => answered({ port: null, ships: null }))
    const [chunk] = await divide()(pages, model, keeping(), NEVER)
    expect(chunk).toMatchObject({ text: 'port: -\nships: -', meta: { record: { port: null, ships: null } } })
    expect(notes).toEqual(['The document says nothing about any of the fields.'])
    await expect(divide()([page(' \n ')], model, keeping(), NEVER)).rejects.toMatchObject({ reason: 'empty_document' })
  })

  it('refuses a document of more windows than are asked about, before it asks', async () => {
    const { model, asked } = modelThat(reading)
    const long = divide()([page(words(30_000))], model, keeping(), NEVER)
    await expect(long).rejects.toMatchObject({
      reason: 'limit_exceeded',
      message: expect.stringContaining('window_size'),
    })
    expect(asked).toEqual([])
  })

  it('keeps a bounded record, whatever the document has the model write', async () => {
    const { model, notes } = modelThat(() =>
      answered(
        JSON.parse(`{"port": "${'x'.repeat(90_000)}", "ships": ["a"], "__proto__": {"leak": 1}, "other": "leak"}`),
      ),
    )
    const answers = keeping()
    const [chunk] = await divide()(pages, model, answers, NEVER)
    expect(Object.keys(chunk?.meta['record'] as object)).toEqual(['port', 'ships'])
    expect(JSON.stringify(chunk).length).toBeLessThan(10_000)
    expect(JSON.stringify(answers.kept)).not.toContain('leak')
    expect(notes).toEqual([])
  })
})
