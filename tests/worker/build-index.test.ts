import { describe, expect, it } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { chunkPages } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { hashChunk } from '../../supabase/functions/_shared/ingestion/chunk/hash.ts'
import type { Delivery, IngestionContext } from '../../supabase/functions/_shared/ingestion/context.ts'
import { indexSource } from '../../supabase/functions/_shared/ingestion/jobs/index-source.ts'
import type { IndexingClaim, StagedChunk } from '../../supabase/functions/_shared/ledger.ts'
import type { ChatProvider, ChatRequest } from '../../supabase/functions/_shared/providers/index.ts'
import { createOfflineAnswerer } from '../../supabase/functions/_shared/providers/offline-answerer.ts'
import { createOfflineEmbedder } from '../../supabase/functions/_shared/providers/offline-embedder.ts'

const words = (count: number, word: string) => Array.from({ length: count }, (_, i) => `${word}${i}`).join(' ')
const SECTIONS = 30
const TEXT = Array.from({ length: SECTIONS }, (_, i) => `# Part ${i}\n\n${words(70, 'berth')}`).join('\n\n')
const USAGE = { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, reasoning_tokens: 0, cached_tokens: 0 }

/** Summaries of the sections that a request is about; counts the requests. */
function summarizer() {
  const requests: ChatRequest[] = []
  const chat: ChatProvider = {
    name: 'fake',
    model: 'fake-1',
    modelFor: (name) => name ?? 'fake-1',
    contextWindow: () => 100_000,
    async *stream(request) {
      requests.push(request)
      const { schema } = request.responseFormat?.['json_schema'] as { schema: { required: string[] } }
      const answer = Object.fromEntries(schema.required.map((name) => [name, `About ${name}.`]))
      yield { type: 'delta', text: JSON.stringify(answer) }
      yield { type: 'done', usage: USAGE, finishReason: 'stop' }
    },
  }
  return { chat, requests }
}

/** The ledger of one source, in memory, and what was called of it. */
function ledgerOf(indexing_config: Record<string, unknown>) {
  const calls: string[] = []
  const staged = new Map<number, StagedChunk & { embedding_model: string }>()
  const settled: [string, string, unknown][] = []
  const state = { attempts: 0, token: '', finished: null as unknown, failed: null as unknown, refusal: null as unknown }
  const claim = (): IndexingClaim => ({
    lease_token: state.token,
    indexed_source_id: 'indexed',
    tenant_id: 'tenant',
    source_id: 'source',
    knowledge_base_id: 'base',
    source_name: 'manual.md',
    page_count: 1,
    indexing_config,
    attempts: state.attempts,
    embedding_model: null,
  })
  const called =
    <Args extends unknown[], Result>(name: string, work: (...args: Args) => Result) =>
    async (...args: Args): Promise<Result> => {
      calls.push(name)
      return work(...args)
    }
  const ledger = {
    claimIndexing: called('claim', () => {
      state.attempts += 1
      state.token = `lease ${state.attempts}`
      return claim()
    }),
    readPages: called('readPages', () => [{ page_number: 1, text: TEXT }]),
    readStagedChunks: called('readStagedChunks', () => [...staged.values()]),
    stageChunks: called(
      'stageChunks',
      (_id: string, _token: string, chunks: StagedChunk[], embedding_model: string) => {
        for (const chunk of chunks) staged.set(chunk.chunk_index, { ...chunk, embedding_model })
        return true
      },
    ),
    readStagedMeta: called('readStagedMeta', (_id: string, _token: string, from: number) =>
      [...staged.values()].filter(({ chunk_index }) => chunk_index >= from),
    ),
    finishIndexing: called('finishIndexing', (...args: unknown[]) => {
      state.finished = args.at(-1)
      return true
    }),
    failIndexing: called('failIndexing', (_id: string, _token: string, failure: unknown) => {
      state.failed = failure
      return true
    }),
    reserveIndexingTokens: called('reserve', (lease: IndexingClaim, want: unknown) => {
      if (state.refusal) throw state.refusal
      return lease.lease_token === state.token ? { id: `r ${JSON.stringify(want)}`, max_tokens: null } : null
    }),
    settleTokens: called('settle', (id: string, token: string, usage: unknown) => {
      settled.push([id, token, usage])
      return true
    }),
    renewLease: async () => true,
  }
  return { ledger, calls, staged, settled, state }
}

function contextWith(ledger: object, chat: ChatProvider, embed = createOfflineEmbedder().embed): IngestionContext {
  const quiet = { info: () => {}, error: () => {} }
  const embedder = { ...createOfflineEmbedder(), embed }
  return {
    ledger: ledger as IngestionContext['ledger'],
    store: {} as IngestionContext['store'],
    embedder,
    embedderFor: () => embedder,
    chat,
    settings: { name: 'test', leaseSeconds: 60, maxAttempts: 5, embedBatchSize: 64, embedTimeoutMs: 60_000 },
    workshop: {
      read: async function* () {},
      chunk: async (pages, options) => chunkPages(pages, options).map(hashChunk),
      hasFailed: () => false,
    },
    log: quiet,
  } as IngestionContext
}
const delivery: Delivery = {
  id: 'indexed',
  jobId: 'job',
  signal: new AbortController().signal,
  retryAt: () => new Date(0),
}
const summaries = (staged: ReadonlyMap<number, StagedChunk>) =>
  [...staged.values()].filter(({ meta }) => 'section_summary' in meta).length

describe('indexing', () => {
  it.each(['chunk_embed', 'full_document', undefined])(
    'with strategy %s asks no model and the ledger nothing more than it needs',
    async (strategy) => {
      const { ledger, calls, staged, state } = ledgerOf({ strategy, chunk_size: 300 })
      const { chat, requests } = summarizer()
      await indexSource(contextWith(ledger, chat), delivery)
      expect(calls).toEqual(['claim', 'readPages', 'readStagedChunks', 'stageChunks', 'finishIndexing'])
      expect(requests).toEqual([])
      const chunks = chunkPages([{ page_number: 1, text: TEXT }], { chunkSize: 300, overlap: 50 }).map(hashChunk)
      expect([...staged.values()].map(({ content_hash, meta }) => [content_hash, meta])).toEqual(
        chunks.map(({ content_hash, meta }) => [content_hash, meta]),
      )
      expect(Object.keys(state.finished as object)).toEqual(['chunk_count', 'token_count', 'reused_count'])
    },
  )

  it('asks again about one batch at most after a crash, and pays for each question', async () => {
    const { ledger, staged, settled, state, calls } = ledgerOf({ strategy: 'page_index', chunk_size: 200, overlap: 0 })
    const { chat, requests } = summarizer()
    let embeddings = 0
    const embed: typeof embedder.embed = (texts, signal) => {
      // Its answers are there, and are lost with the worker.
      if (++embeddings === 2) throw new AppError('upstream_timeout', 'x')
      return embedder.embed(texts, signal)
    }
    const embedder = createOfflineEmbedder()
    await expect(indexSource(contextWith(ledger, chat, embed), delivery)).rejects.toThrow('x')
    const [kept, asked] = [summaries(staged), requests.length]
    expect(kept).toBe(16)
    expect(asked).toBe(4)
    await indexSource(contextWith(ledger, chat, embed), delivery)
    expect(summaries(staged)).toBe(SECTIONS)
    expect(requests).toHaveLength(asked + 2)
    expect(state.finished).toMatchObject({ reused_count: 16, section_summaries: SECTIONS - 16, model_questions: 2 })
    expect(settled).toHaveLength(requests.length)
    expect(settled.every(([, token, usage]) => /lease [12]/.test(token) && usage === USAGE)).toBe(true)
    expect(settled[0]?.[0]).toMatch(/"model":"fake-1","provider":"fake","promptTokens":\d+,"maxTokens":\d+/)
    expect(calls.filter((name) => name === 'reserve')).toHaveLength(requests.length)
    // What the document says is context, and no part of the instructions.
    expect(requests[0]?.system).not.toContain('berth')
    expect(requests[0]?.context[0]?.text).toContain('berth')
  })

  it('asks once for the summary of a document, whatever becomes of the attempt, and embeds only that chunk anew', async () => {
    const config: Record<string, unknown> = { strategy: 'full_document', chunk_size: 300 }
    const { ledger, staged, settled, state } = ledgerOf(config)
    await indexSource(contextWith(ledger, summarizer().chat), delivery)
    const passages = staged.size
    config['summary_model'] = 'fake-2'
    const { chat, requests } = summarizer()
    let texts: string[] = []
    const embedder = createOfflineEmbedder()
    let isBroken = true
    const embed: typeof embedder.embed = (given, signal) => {
      texts = given
      if (isBroken) throw new AppError('upstream_timeout', 'x')
      return embedder.embed(given, signal)
    }
    await expect(indexSource(contextWith(ledger, chat, embed), delivery)).rejects.toThrow('x')
    isBroken = false
    await indexSource(contextWith(ledger, chat, embed), delivery)
    expect(requests.map(({ model }) => model)).toEqual(['fake-2'])
    expect(settled).toHaveLength(1)
    expect(texts).toEqual([expect.stringMatching(/^About summary\.\n\n# Part 0\n\nberth0 /)])
    const added = staged.get(passages)
    expect(added).toMatchObject({ context: 'About summary.', meta: { document_summary: 'About summary.' } })
    expect(added?.text).toBe(TEXT.slice(added?.start_char, added?.end_char))
    expect(state.finished).toMatchObject({
      chunk_count: passages + 1,
      reused_count: passages,
      document_summaries: 1,
    })
    // Without a model: as it was before.
    await indexSource(contextWith(ledger, createOfflineAnswerer()), delivery)
    expect(state.finished).toMatchObject({
      chunk_count: passages,
      notes: [expect.stringContaining('No language model')],
    })
  })

  it('asks again when what is asked has changed meanwhile', async () => {
    const config: Record<string, unknown> = { strategy: 'page_index', chunk_size: 200, overlap: 0 }
    const { ledger, staged } = ledgerOf(config)
    await indexSource(contextWith(ledger, summarizer().chat), delivery)
    const same = summarizer()
    await indexSource(contextWith(ledger, same.chat), delivery)
    expect(same.requests).toEqual([])
    config['model'] = 'fake-2'
    const other = summarizer()
    await indexSource(contextWith(ledger, other.chat), delivery)
    expect(other.requests.map(({ model }) => model)).toEqual(Array.from({ length: 4 }, () => 'fake-2'))
    config['if_add_node_summary'] = 'no'
    await indexSource(contextWith(ledger, other.chat), delivery)
    expect([other.requests.length, summaries(staged)]).toEqual([4, 0])
  })

  it('ends with its reason without a budget, and without a word when the lease is lost', async () => {
    const { ledger, state, calls } = ledgerOf({ strategy: 'page_index', chunk_size: 200 })
    const { chat, requests } = summarizer()
    state.refusal = new AppError('budget_exceeded', 'The budget is used up.')
    await indexSource(contextWith(ledger, chat), delivery)
    expect(state.failed).toMatchObject({ status: 'failed', errorCode: 'permanent', reasonCode: 'budget_exceeded' })
    expect(requests).toEqual([])

    state.refusal = null
    state.failed = null
    const lost = { ...ledger, reserveIndexingTokens: async () => null }
    await indexSource(contextWith(lost, chat), delivery)
    expect([state.failed, state.finished, requests.length]).toEqual([null, null, 0])
    expect(calls).not.toContain('stageChunks')
  })

  it('goes without summaries where there is no model, and fails where there is no doing without', async () => {
    const offline = createOfflineAnswerer()
    const pages = ledgerOf({ strategy: 'page_index' })
    await indexSource(contextWith(pages.ledger, offline), delivery)
    expect(pages.state.finished).toMatchObject({ notes: [expect.stringContaining('No language model')] })
    for (const config of [
      { strategy: 'graph_index' },
      { strategy: 'doc2json', json_schema: { fields: [{ name: 'berth' }] } },
    ]) {
      const { ledger, state } = ledgerOf(config)
      await indexSource(contextWith(ledger, offline), delivery)
      expect(state.failed).toMatchObject({ status: 'failed', reasonCode: 'strategy_needs_model' })
    }
    const broken = ledgerOf({ strategy: 'doc2json', json_schema: { fields: 5 } })
    await indexSource(contextWith(broken.ledger, summarizer().chat), delivery)
    expect(broken.state.failed).toMatchObject({ reasonCode: 'invalid_indexing_config' })
  })
})
