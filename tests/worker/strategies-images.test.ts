import { describe, expect, it } from 'vitest'
import { NO_USAGE } from '../../supabase/functions/_shared/agent/usage.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { doc2json } from '../../supabase/functions/_shared/ingestion/strategies/doc2json.ts'
import { indexingModel } from '../../supabase/functions/_shared/ingestion/strategies/model.ts'
import type { Outcome } from '../../supabase/functions/_shared/ingestion/strategies/model.ts'
import { ObjectMissingError } from '../../supabase/functions/_shared/object-store.ts'
import type { ObjectStore } from '../../supabase/functions/_shared/object-store.ts'
import type { ChatRequest } from '../../supabase/functions/_shared/providers/index.ts'

// Records from images of pages, from the pages to the requests that the provider gets.

type Sent = { text: string; images: string[] }
/** What the provider throws for a request; null: it answers. */
type Refusal = (sent: Sent) => AppError | null
type Known = Map<string, Record<string, unknown>>

const NEVER = new AbortController().signal
const tooLong = () => new AppError('context_length_exceeded', 'The prompt is too long for the model.')
const noImages = () => new AppError('upstream_failed', 'x', { cause: Object.assign(new Error(), { status: 400 }) })

const sentIn = ({ messages, context }: ChatRequest): Sent => ({
  text: context.map(({ text }) => text).join(),
  images: messages.flatMap((message) => ('images' in message ? (message.images ?? []) : [])).map(({ label }) => label),
})

/** Makes the record of these pages, all of which are drawn: what the provider was sent, what was kept, what is said of it. */
async function index(
  texts: string[],
  {
    refuses = () => null,
    known = new Map(),
    lost = [],
    contextWindow = 100_000,
    pagesPerWindow = 1,
  }: { refuses?: Refusal; known?: Known; lost?: number[]; contextWindow?: number; pagesPerWindow?: number } = {},
) {
  const sent: Sent[] = []
  const outcome: Outcome = { counts: {}, notes: new Set() }
  const folder = 'tenant/source/pages/attempt'
  const config = {
    strategy: 'doc2json',
    json_schema: { fields: [{ name: 'quay', type: 'text' }] },
    extra: { use_images: true, pages_per_window: pagesPerWindow },
  }
  const store: Pick<ObjectStore, 'get'> = {
    async get(key) {
      if (lost.some((page) => key.endsWith(`/${page}.png`))) throw new ObjectMissingError(key)
      return {
        sizeBytes: 3,
        stream: (async function* () {
          yield new Uint8Array([1, 2, 3])
        })(),
      }
    },
  }
  const ledger = {
    reserveIndexingTokens: async () => ({ id: 'reservation', max_tokens: null }),
    settleTokens: async () => undefined,
  }
  const model = indexingModel({
    chat: {
      name: 'fake',
      model: 'fake',
      takesImages: true,
      modelFor: () => 'fake',
      contextWindow: () => contextWindow,
      async *stream(request) {
        const now = sentIn(request)
        sent.push(now)
        const refusal = refuses(now)
        if (refusal) throw refusal
        yield { type: 'delta', text: JSON.stringify({ quay: now.images.length > 0 ? 'seen' : 'read' }) }
        yield { type: 'done', usage: NO_USAGE, finishReason: 'stop' }
      },
    },
    ledger: ledger as never,
    store: store as ObjectStore,
    log: { info: () => {}, error: () => {} },
    claim: {
      lease_token: 'lease',
      indexed_source_id: 'indexed',
      tenant_id: 'tenant',
      source_id: 'source',
      knowledge_base_id: 'base',
      source_name: 'quays.pdf',
      page_count: texts.length,
      indexing_config: config,
      attempts: 1,
      embedding_model: null,
      page_images: texts.map((_, at) => ({
        storage_path: `${folder}/${at + 1}.png`,
        page: at + 1,
        format: 'png',
        metadata: { width: 600, height: 800, dpi: 72 },
      })),
    },
    isLastTry: false,
    signal: NEVER,
    outcome,
  })
  const kept: Known = new Map()
  const answers = {
    known,
    keep: async (_: number, hash: string, answer: Record<string, unknown>) => void kept.set(hash, answer),
  }
  const pages = texts.map((text, at) => ({ page_number: at + 1, text }))
  const [chunk] = await doc2json(config).divide!(pages, model, answers, NEVER)
  return { sent, kept, record: chunk?.meta['record'], counts: outcome.counts, notes: [...outcome.notes] }
}

const imagesOf = (sent: Sent[]) => sent.map(({ text, images }) => [text.split(' ')[0], images.length])

describe('a question that is too long with its images', () => {
  const texts = ['One', 'Two', 'Three', 'Four', 'Five']
  const refuses: Refusal = ({ text, images }) => (text === 'Two' && images.length > 0 ? tooLong() : null)

  it('is asked without them, and no other is', async () => {
    const { sent, counts, notes } = await index(texts, { refuses })
    expect(imagesOf(sent).toSorted()).toEqual(
      [
        ['One', 1],
        ['Two', 1],
        ['Two', 0],
        ['Three', 1],
        ['Four', 1],
        ['Five', 1],
      ].toSorted(),
    )
    expect(counts).toMatchObject({ windows: 5, images_shown: 4, model_questions: 6 })
    expect(notes).toEqual([
      'With images of their pages some parts are too long for the model: there the text alone was read.',
    ])
  })

  it('is asked with them again by a later attempt, whose answer counts; refused again, the kept one does', async () => {
    const first = await index(texts, { refuses })
    expect(first.kept.size).toBe(5)
    const larger = await index(texts, { known: first.kept })
    expect(imagesOf(larger.sent)).toEqual([['Two', 1]])
    expect(larger.counts).toMatchObject({ windows_reused: 4, images_shown: 1 })
    const same = await index(texts, { refuses, known: first.kept })
    expect(imagesOf(same.sent)).toEqual([['Two', 1]])
    expect(same.counts).toMatchObject({ windows_reused: 5 })
    expect(same.counts['images_shown']).toBeUndefined()
  })
})

describe('a model that refuses images', () => {
  const texts = ['One', 'Two', 'Three', 'Four', 'Five']
  const refuses: Refusal = ({ images }) => (images.length > 0 ? noImages() : null)

  it('is shown none from then on, and asked nothing twice', async () => {
    const first = await index(texts, { refuses })
    // Two at once: those are refused.
    expect(first.sent.filter(({ images }) => images.length > 0)).toHaveLength(2)
    expect(first.notes).toEqual(['The model refused images of pages: from there on their text alone was read.'])
    expect(first.counts['images_shown']).toBeUndefined()
    const again = await index(texts, { refuses, known: first.kept })
    expect(again.sent.every(({ images }) => images.length > 0)).toBe(true)
    expect(again.sent).toHaveLength(2)
    expect(again.counts).toMatchObject({ windows: 5, windows_reused: 5 })
  })

  it('is shown them by a later attempt when it takes them', async () => {
    const first = await index(texts, { refuses })
    expect(first.record).toEqual({ quay: 'read' })
    const second = await index(texts, { known: first.kept })
    expect(second.counts).toMatchObject({ windows_reused: 0, images_shown: 5 })
    expect(second.record).toEqual({ quay: 'seen' })
  })
})

it('an answer counts for the images that were there', async () => {
  const first = await index(['One', 'Two'], { lost: [2], pagesPerWindow: 2 })
  expect(first.sent.map(({ images }) => images)).toEqual([['Page 1:']])
  const same = await index(['One', 'Two'], { lost: [2], pagesPerWindow: 2, known: first.kept })
  expect([same.sent, same.counts['windows_reused']]).toEqual([[], 1])
  const whole = await index(['One', 'Two'], { pagesPerWindow: 2, known: first.kept })
  expect(whole.sent.map(({ images }) => images)).toEqual([['Page 1:', 'Page 2:']])
})

it('pages with more text than the model can read are divided, and nothing of them is left out', async () => {
  const page = (name: string, count: number) => Array.from({ length: count }, (_, at) => `${name}${at}`).join(' ')
  const texts = [page('a', 100), page('b', 100), page('c', 3000), page('d', 100)]
  const { sent, counts, notes } = await index(texts, { pagesPerWindow: 4, contextWindow: 12_000 })
  expect(notes).toEqual([])
  // Two are asked at once.
  expect(sent.map(({ images }) => images.join(' ')).toSorted()).toEqual([
    'Page 1: Page 2:',
    ...Array.from({ length: sent.length - 2 }, () => 'Page 3:'),
    'Page 4:',
  ])
  expect(sent.length).toBeGreaterThan(3)
  expect(counts).toMatchObject({ windows: sent.length, images_shown: sent.length + 1 })
  const words = new Set(sent.flatMap(({ text }) => text.split(/\s+/)))
  expect(texts.flatMap((text) => text.split(' ')).filter((word) => !words.has(word))).toEqual([])
})
