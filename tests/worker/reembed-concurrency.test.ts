import { setTimeout as wait } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import type pg from 'pg'
import { createLedger, type StagedChunk } from '../../supabase/functions/_shared/ledger.ts'
import type { Embedder } from '../../supabase/functions/_shared/providers/index.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import type { JobContext } from '../../worker/jobs/context.ts'
import { reembedKnowledgeBase } from '../../supabase/functions/_shared/ingestion/jobs/reembed-knowledge-base.ts'
import { noNativeServer } from '../support/prepared-database.ts'
import { useStack } from '../support/stack.ts'
import {
  addChunks,
  directionOf,
  HARBOR,
  inSnapshot,
  makeBase,
  openSession,
  OWNER,
  type Base,
} from './search-support.ts'

// Two models whose vectors have different lengths: a search that mixed them would fail, or miss rows.
const MODELS: Record<string, number> = { 'left-8': 8, 'right-16': 16 }
const other = (model: string) => Object.keys(MODELS).find((name) => name !== model) as string
const embedder = (model: string): Embedder => ({
  model,
  dimensions: MODELS[model] as number,
  embed: (texts) => Promise.resolve(texts.map((text) => directionOf(text, MODELS[model] as number))),
})

describe.skipIf(noNativeServer())('searches, documents and switches there and back, all at the same time', () => {
  const stack = useStack()
  let base: Base
  let indexedSourceId: string

  beforeAll(async () => {
    await stack.db.exec('delete from public.memories')
    base = await makeBase(stack.db, 'left-8')
    await addChunks(
      stack.db,
      base,
      Array.from({ length: 400 }, (_, index) => index),
      { model: 'left-8', dimensions: 8 },
    )
    // A second source of the same knowledge base, which is indexed again and again.
    const second = await makeBase(stack.db, 'left-8')
    indexedSourceId = second.indexedSourceId
    await stack.db.query('update ai.indexed_sources set knowledge_base_id = $1 where id = $2', [
      base.knowledgeBaseId,
      indexedSourceId,
    ])
  })

  /** What search finds by a model, and what is nearest by that model, in one snapshot. */
  async function look(session: pg.Client, model: string, text: string) {
    const vector = JSON.stringify(directionOf(text, MODELS[model] as number))
    const { rows: found } = await session.query<{ chunk_id: string }>(
      `select chunk_id from ai.search('quay', $1::extensions.vector, $2, array[$3::uuid], method => 'vector_search')`,
      [vector, model, base.knowledgeBaseId],
    )
    const { rows: nearest } = await session.query<{ item_id: string }>(
      `select item_id from private.search_vectors join ai.chunks on chunks.id = item_id
       where vector_set_id = (select id from private.vector_sets where embedding_model = $2) and knowledge_base_id = $3
       order by embedding operator(extensions.<#>) private.unit_vector($1::extensions.vector), item_id limit 10`,
      [vector, model, base.knowledgeBaseId],
    )
    return { found: found.map(({ chunk_id }) => chunk_id), nearest: nearest.map(({ item_id }) => item_id) }
  }

  const modelInUse = async (session: pg.Client): Promise<string> => {
    const { rows } = await session.query<{ embedding_model: string }>(
      'select embedding_model from ai.search_models($1)',
      [[base.knowledgeBaseId]],
    )
    return rows[0]?.embedding_model as string
  }

  test('no search fails or mixes, and nothing is ever without a vector of the model in use', async () => {
    const ledger = createLedger({ url: stack.url, secretKey: stack.keys.secret })
    const user = await stack.signIn('owner@harbor.example')
    let isOver = false
    const wrong: unknown[] = []
    const searched = new Map<string, number>()
    let indexed = 0
    let refused = 0

    /** Asks which model, then searches by it: in one snapshot or, as clients do, in two requests between which all may change. */
    const search = async (isOneSnapshot: boolean) => {
      const session = await openSession(stack.dbUrl)
      try {
        for (let turn = 0; !isOver; turn++) {
          const text = `question ${turn}`
          let model = ''
          const seen = await (isOneSnapshot
            ? inSnapshot(session, OWNER, async () => look(session, (model = await modelInUse(session)), text))
            : inSnapshot(session, OWNER, () => modelInUse(session)).then((asked) =>
                inSnapshot(session, OWNER, () => look(session, (model = asked), text)),
              ))
          searched.set(model, (searched.get(model) ?? 0) + 1)
          if (seen.found.length !== 10 || JSON.stringify(seen.found) !== JSON.stringify(seen.nearest)) {
            wrong.push({ model, ...seen })
          }
          if (isOneSnapshot && turn % 5 === 0) await checkComplete(session)
        }
      } finally {
        await session.end()
      }
    }
    const checkComplete = async (session: pg.Client) => {
      const { rows } = await session.query<{ count: number; model: string }>(
        `select count(*)::int as count, min(bases.embedding_model) as model
         from ai.chunks join ai.knowledge_bases as bases on bases.id = chunks.knowledge_base_id
         where bases.id = $1 and not exists (
           select from private.search_vectors join private.vector_sets on vector_sets.id = vector_set_id
           where item_id = chunks.id and vector_sets.embedding_model = bases.embedding_model
         )`,
        [base.knowledgeBaseId],
      )
      if (rows[0]?.count !== 0) wrong.push({ lacking: rows[0] })
    }
    /** What the worker does with a source, without reading a document. */
    const index = async () => {
      for (let turn = 0; !isOver; turn++) {
        // A re-embedding ends in a gap between two documents; real ones leave longer ones.
        await wait(150)
        await stack.db.query(
          `update ai.indexed_sources
           set index_status = 'pending', lease_token = null, leased_by = null, lease_expires_at = null where id = $1`,
          [indexedSourceId],
        )
        const claim = await ledger.claimIndexing(indexedSourceId, 'test', 60)
        if (!claim) throw new Error('The source is not there to be indexed.')
        const { embed, model } = embedder(claim.embedding_model as string)
        const texts = Array.from({ length: 12 }, (_, at) => `Pier ${turn} ${at}`)
        const vectors = await embed(texts)
        const chunks = texts.map(
          (text, at): StagedChunk => ({
            chunk_index: at,
            text,
            start_char: 0,
            end_char: text.length,
            tokens: 3,
            score: 1,
            meta: { pages: [1], heading_path: [] },
            context: '',
            content_hash: text,
            embedding: vectors[at] as number[],
          }),
        )
        await ledger.stageChunks(indexedSourceId, claim.lease_token, chunks, model)
        try {
          await ledger.finishIndexing(indexedSourceId, claim.lease_token, chunks.length, model, {})
          indexed++
        } catch (error) {
          // Switched between claim and end: the queue would deliver it again.
          if (!(error instanceof AppError) || error.code !== 'conflict') throw error
          refused++
        }
      }
    }
    /** There and back, each time as far as the other model is complete. */
    const change = async () => {
      const context = {
        ledger,
        embedder: embedder('left-8'),
        embedderFor: embedder,
        settings: { name: 'test', leaseSeconds: 30, maxAttempts: 10, embedBatchSize: 32, embedTimeoutMs: 60_000 },
        log: { info: () => {}, error: (event: string, fields?: object) => void wrong.push({ event, ...fields }) },
      } as unknown as JobContext
      const inUse = async () => {
        const [row] = await stack.db.query<{ embedding_model: string }>(
          'select embedding_model from ai.knowledge_bases where id = $1',
          [base.knowledgeBaseId],
        )
        return row?.embedding_model as string
      }
      for (let round = 0; round < 10; round++) {
        const model = other(await inUse())
        const asked = await user
          .schema('ai')
          .rpc('reembed_knowledge_base', { knowledge_base_id: base.knowledgeBaseId, embedding_model: model })
        if (asked.error) throw new Error(JSON.stringify(asked.error))
        const [request] = await stack.db.query<{ id: string }>(
          'select id from private.reembeddings where tenant_id = $1 and knowledge_base_id = $2',
          [HARBOR, base.knowledgeBaseId],
        )
        await reembedKnowledgeBase(context, {
          id: request?.id as string,
          jobId: 'test',
          signal: new AbortController().signal,
          retryAt: () => null,
        })
        if ((await inUse()) !== model) throw new Error(`It is not searched by ${model} after round ${round}.`)
        // Immediately back and forth, where nothing has come since; else that is refused and nothing changes.
        for (const target of [other(model), model]) {
          const { error } = await user
            .schema('ai')
            .rpc('switch_embedding_model', { knowledge_base_id: base.knowledgeBaseId, embedding_model: target })
          if (error && error.code !== 'PT409') throw new Error(JSON.stringify(error))
        }
      }
    }
    const going = [search(true), search(false), index()]
    try {
      await Promise.race([change(), Promise.all(going)])
    } finally {
      isOver = true
      await Promise.all(going)
    }
    expect(wrong).toEqual([])
    // Of chunks that were replaced while their vectors were being made, nothing came back.
    const [stray] = await stack.db.query<{ count: number }>(
      `select count(*)::int as count from private.search_vectors as vectors
       where not exists (
         select from private.search_lexemes as items where items.item_id = vectors.item_id and items.segment_id = vectors.segment_id
       )`,
    )
    expect(stray?.count).toBe(0)
    for (const model of Object.keys(MODELS)) expect(searched.get(model) ?? 0).toBeGreaterThan(0)
    expect(indexed).toBeGreaterThan(0)
  }, 180_000)
})
