import { describe, expect, it } from 'vitest'
import { NO_USAGE } from '../../supabase/functions/_shared/agent/usage.ts'
import { askWithImages } from '../../supabase/functions/_shared/enrichment/ask-with-images.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import type { ChatRequest } from '../../supabase/functions/_shared/providers/index.ts'

// Questions of an enrichment about a document and images of its pages, up to the requests that the provider gets.

const MEBIBYTE = 1024 * 1024
const TOKENS_PER_IMAGE = 1600
const refusal = () => new AppError('upstream_failed', 'x', { cause: Object.assign(new Error(), { status: 400 }) })
const tooLong = () => new AppError('context_length_exceeded', 'The prompt is too long for the model.')

const labelsOf = ({ messages }: ChatRequest): string[] =>
  messages.flatMap((message) => ('images' in message ? (message.images ?? []) : [])).map(({ label }) => label)

async function* piecesOf(bytes: Uint8Array) {
  yield await Promise.resolve(bytes)
}

/** Asks about a document of so many drawn pages: the pages shown in each request, the tokens held back for each, the answer. */
async function ask({
  pages = 1,
  imageBytes = 10,
  text = 'Gate B opens at seven.',
  takesImages = true,
  isStored = true,
  contextWindow = 100_000,
  refuses = null as AppError | null,
} = {}) {
  const shown: string[][] = []
  const texts: number[] = []
  const reserved: number[] = []
  const answer = await askWithImages(
    {
      chat: {
        name: 'fake',
        model: 'fake',
        takesImages,
        modelFor: () => 'fake',
        contextWindow: () => contextWindow,
        async *stream(request) {
          const labels = labelsOf(request)
          shown.push(labels)
          texts.push(request.context.reduce((sum, item) => sum + item.text.length, 0))
          await Promise.resolve()
          if (refuses && labels.length > 0) throw refuses
          yield { type: 'delta', text: '{"topic":"gates"}' }
          yield { type: 'done', usage: NO_USAGE, finishReason: 'stop' }
        },
      },
      budget: {
        reserve: ({ promptTokens, maxTokens }) => {
          reserved.push(promptTokens)
          return Promise.resolve({ id: null, maxTokens })
        },
        settle: () => Promise.resolve(),
      },
      signal: new AbortController().signal,
      log: { info: () => {}, error: () => {} },
    },
    {
      get: () =>
        isStored
          ? Promise.resolve({ stream: piecesOf(new Uint8Array(imageBytes)), sizeBytes: imageBytes })
          : Promise.reject(new Error('The storage is down.')),
    },
    { fields: [{ name: 'topic', description: 'Topic', type: 'text' }], model: null, maxTokens: 100 },
    {
      name: 'a.pdf',
      text,
      isWhole: true,
      images: Array.from({ length: pages }, (_, index) => ({
        storage_path: `t/s/pages/x/${index + 1}.png`,
        page: index + 1,
        format: 'png' as const,
        metadata: { width: 1, height: 1, dpi: 72 },
      })),
    },
  )
  return { shown, texts, reserved, answer }
}
const GATES = { object: { topic: 'gates' }, error: null }
const labels = (count: number) => Array.from({ length: count }, (_, index) => `Page ${index + 1}:`)

describe('images of the first pages', () => {
  it('are shown as many as a request may have, and held back for', async () => {
    const { shown, reserved, answer } = await ask({ pages: 12 })
    expect(shown).toEqual([labels(8)])
    expect(answer).toEqual({ ...GATES, note: null })
    const [alone = 0] = (await ask({ pages: 0 })).reserved
    expect(reserved[0]).toBeGreaterThanOrEqual(alone + 8 * TOKENS_PER_IMAGE)
    expect((await ask({ pages: 8, imageBytes: 3 * MEBIBYTE })).shown).toEqual([labels(2)])
  })

  it('take of the room of a long text, which has it again without them', async () => {
    const long = { text: 'x'.repeat(60_000), pages: 2, contextWindow: 12_000 }
    const { texts, answer } = await ask({ ...long, refuses: refusal() })
    expect(texts).toHaveLength(2)
    expect(texts[1]! - texts[0]!).toBeGreaterThanOrEqual(2 * TOKENS_PER_IMAGE * 4)
    expect(answer.note).toMatch(/refused images.* Only the first /)
  })

  it('stand for a text that is not there', async () => {
    expect((await ask({ text: ' ' })).answer).toEqual({ ...GATES, note: null })
    const { shown, answer } = await ask({ text: ' ', pages: 0 })
    expect(shown).toEqual([])
    expect(answer.error?.code).toBe('empty_document')
  })
})

describe('the text alone is read, and the answer says so', () => {
  const refused: [string, Parameters<typeof ask>[0], RegExp][] = [
    ['an endpoint refuses images', { refuses: refusal() }, /^The model refused images of the pages/],
    ['the request is too long with them', { refuses: tooLong() }, /^With images of its pages .* too long/],
  ]
  it.each(refused)('where %s: it is asked again', async (_, world, said) => {
    const { shown, reserved, answer } = await ask({ ...world, pages: 2 })
    expect(shown).toEqual([labels(2), []])
    expect(reserved[0]! - reserved[1]!).toBeGreaterThanOrEqual(2 * TOKENS_PER_IMAGE)
    expect(answer).toEqual({ ...GATES, note: expect.stringMatching(said) })
  })

  const none: [string, Parameters<typeof ask>[0], RegExp][] = [
    ['there are no images', { pages: 0 }, /^There are no images/],
    ['the model takes none', { takesImages: false }, /takes none/],
    ['they cannot be read', { isStored: false }, /could not be read/],
  ]
  it.each(none)('where %s', async (_, world, said) => {
    const { shown, answer } = await ask(world)
    expect(shown).toEqual([[]])
    expect(answer).toEqual({ ...GATES, note: expect.stringMatching(said) })
  })

  it('is not where the provider fails for another reason', async () => {
    await expect(ask({ refuses: new AppError('upstream_timeout', 'x') })).rejects.toMatchObject({
      code: 'upstream_timeout',
    })
  })
})
