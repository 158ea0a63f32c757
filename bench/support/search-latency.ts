import { createHash, randomUUID } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { createBulkhead } from '../../client/index.ts'
import { createOfflineEmbedder } from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { type Corpus, makeCorpus } from './corpus.ts'
import { percentile, timed } from './stats.ts'
import { asService, dataOf, signIn, type Target } from './target.ts'

const SOURCES = 20
const CHUNKS_PER_SOURCE = 500
const BATCH = 100
const SEARCHES = 40
const TENANT = '22222222-2222-4222-8222-222222222222' // Meridian Health, which the other measurements leave empty

export type SearchResult = { label: string; p50: number; p95: number; runs: number }

/**
 * Latency of searches in a knowledge base of 10,000 chunks, as a member of its tenant: the RPC alone, with the question's vector
 * at hand, and the whole way through the function that embeds the question.
 */
export async function measureSearch(target: Target): Promise<SearchResult[]> {
  const member = await signIn(target, 'member@meridian.example')
  const knowledgeBase = dataOf(
    await member.schema('ai').from('knowledge_bases').select('id').eq('is_default', true).single(),
  )
  const corpus = makeCorpus(SOURCES * CHUNKS_PER_SOURCE, 1717)
  await fill(asService(target), knowledgeBase.id as string, corpus)

  const embedder = createOfflineEmbedder()
  const bulkhead = createBulkhead(member)
  const direct: number[] = []
  const whole: number[] = []
  for (let run = 0; run < SEARCHES; run++) {
    const query = corpus.question(run)
    const [vector] = await embedder.embed([query])
    const call = {
      query,
      query_embedding: JSON.stringify(vector),
      embedding_model: embedder.model,
      knowledge_base_ids: [knowledgeBase.id],
      match_count: 10,
    }
    const rpc = await timed(async () => dataOf(await member.schema('ai').rpc('search', call)) as unknown[])
    const viaFunction = await timed(() => bulkhead.search({ query, topK: 10 }))
    if (rpc.result.length !== 10 || viaFunction.result.length !== 10) throw new Error('a search found too little')
    direct.push(rpc.ms)
    whole.push(viaFunction.ms)
  }
  const summary = (label: string, times: number[]) => {
    return { label, p50: percentile(times, 0.5), p95: percentile(times, 0.95), runs: SEARCHES }
  }
  return [
    summary(`ai.search over ${SOURCES * CHUNKS_PER_SOURCE} chunks`, direct),
    summary('the same through the api function', whole),
  ]
}

/** Indexes sources of generated text the way the worker does: claim, stage in batches, finish. */
async function fill(service: SupabaseClient, knowledgeBaseId: string, corpus: Corpus): Promise<void> {
  const ai = service.schema('ai')
  const embedder = createOfflineEmbedder()
  for (let number = 0; number < SOURCES; number++) {
    const sourceId = randomUUID()
    const indexedSourceId = randomUUID()
    const name = `bench-${number}.txt`
    const hash = createHash('sha256').update(name).digest('hex')
    const now = new Date().toISOString()
    const source = {
      id: sourceId,
      tenant_id: TENANT,
      name,
      file_type: '.txt',
      mime_type: 'text/plain',
      size_bytes: 1,
      content_hash: hash,
      storage_path: `${TENANT}/${sourceId}/${name}`,
      extraction_status: 'extracted',
      uploaded_at: now,
      extracted_at: now,
      page_count: 1,
    }
    const place = { id: indexedSourceId, tenant_id: TENANT, knowledge_base_id: knowledgeBaseId, source_id: sourceId }
    dataOf(await ai.from('sources').insert(source).select('id'))
    dataOf(await ai.from('indexed_sources').insert(place).select('id'))
    const claim = { indexed_source_id: indexedSourceId, worker: 'bench', lease_seconds: 600 }
    const lease = dataOf(await ai.rpc('claim_indexing', claim)) as { lease_token: string }
    const held = { indexed_source_id: indexedSourceId, lease_token: lease.lease_token, embedding_model: embedder.model }

    for (let from = 0; from < CHUNKS_PER_SOURCE; from += BATCH) {
      const texts = corpus.chunks.slice(number * CHUNKS_PER_SOURCE + from, number * CHUNKS_PER_SOURCE + from + BATCH)
      const embeddings = await embedder.embed(texts)
      const chunks = texts.map((text, index) => ({
        chunk_index: from + index,
        text,
        start_char: (from + index) * 1000,
        end_char: (from + index) * 1000 + text.length,
        tokens: Math.ceil(text.length / 4),
        score: 1,
        meta: { pages: [1], heading_path: [] },
        content_hash: createHash('sha256').update(text).digest('hex'),
        embedding: embeddings[index],
      }))
      dataOf(await ai.rpc('stage_chunks', { ...held, chunks }))
    }
    dataOf(await ai.rpc('finish_indexing', { ...held, chunk_count: CHUNKS_PER_SOURCE, stats: {} }))
  }
}
