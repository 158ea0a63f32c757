import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createOfflineEmbedder } from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { HARBOR, MERIDIAN, caller, eventsOf, only, serviceCaller, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'
import { json, scoring, startSearchServer } from './support/search-server.ts'
import type { SearchServer } from './support/search-server.ts'

const userEnv: Record<string, string> = {
  OPENAI_API_KEY: 'sk-test',
  EMBEDDING_MODEL: 'stub-a',
  CHAT_MODEL: 'bulkhead-extractive',
  RERANK_TIMEOUT_MS: '400',
  RERANK_API_KEY: 'rerank-key',
}
let server: SearchServer
beforeAll(async () => {
  server = await startSearchServer()
  userEnv['OPENAI_BASE_URL'] = server.url
  userEnv['RERANK_URL'] = server.rerankUrl
})
const stack = useFunctionsStack({ worker: true, userEnv })
afterAll(() => server.stop())

let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let cranes: Json
let buoys: Json
let first: string
let second: string
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  const create = async (name: string) =>
    (await member.json(201, 'POST', '/api/knowledge-bases', { json: { name } }))['id'] as string
  first = await create('First')
  second = await create('Second')
  cranes = await uploadAndIndex(member, 'cranes.md', '# Cranes\n\nThe cranes of the harbour lift forty tons.\n', { knowledge_base_id: first }) // prettier-ignore
  await uploadAndIndex(member, 'ropes.md', '# Ropes\n\nThe ropes of the harbour are made of hemp.\n', { knowledge_base_id: first }) // prettier-ignore
  await uploadAndIndex(member, 'wages.md', '# Wages\n\nThe wages of the harbour are a secret.\n', { knowledge_base_id: first, visibility: 'private' }) // prettier-ignore
  buoys = await uploadAndIndex(member, 'buoys.md', '# Buoys\n\nThe buoys of the harbour are red.\n', { knowledge_base_id: second }) // prettier-ignore
  await uploadAndIndex(stranger, 'ward.md', '# Ward\n\nThe ward has a harbour view.\n')
})
beforeEach(() => {
  server.answer(scoring(() => 0.5))
  server.reranks.length = 0
  server.embedded.length = 0
})

const usageOf = (kind: string) =>
  stack.db.query<Json>(
    `select tenant_id, user_id, model, total_tokens::int, is_estimate from ai.usage_entries where kind = $1 and not is_estimate order by created_at`,
    [kind],
  )
const search = (user: FunctionsCaller, sent: object, status = 200) =>
  user.json(status, 'POST', '/search', { json: sent })
const sourcesOf = (found: Json): string[] => found['results'].map((hit: Json) => hit['source_id'])
const namesOf = (found: Json): string[] => found['results'].map((hit: Json) => hit['source_name'])
const setModel = (knowledgeBaseId: string, model: string) =>
  stack.db.query('update ai.knowledge_bases set embedding_model = $2 where id = $1', [knowledgeBaseId, model])

describe('a query', () => {
  it('is usage of whoever asks, and of nobody where it is the backend', async () => {
    await stack.db.query(`delete from ai.usage_entries where not is_estimate`)
    await search(viewer, { query: 'Which buoys are red?' })
    await search(serviceCaller(stack, { 'x-tenant-id': HARBOR }), { query: 'Which buoys are green?' })
    const [{ id } = {}] = await stack.db.query<Json>(`select id from auth.users where email = 'viewer@harbor.example'`)
    const own = { tenant_id: HARBOR, model: 'stub-a', total_tokens: 1, is_estimate: false }
    await eventually(async () =>
      expect(await usageOf('embedding')).toEqual([
        { ...own, user_id: id },
        { ...own, user_id: null },
      ]),
    )
  })

  it('is searched for by hybrid where tree_search has no model', async () => {
    const json = { name: 'Tree', indexing_config: { strategy: 'page_index' } }
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json })
    const fields = { knowledge_base_id: made['id'] }
    await uploadAndIndex(member, 'menu.md', '# Soup\n\nSoup of the day.\n', fields)
    await uploadAndIndex(member, 'law.md', '# Berths\n\nShips berth at noon.\n\n# Cranes\n\nCranes lift.\n', fields)
    const found = await search(member, { query: 'When do ships berth?', knowledge_base_ids: [made['id']] })
    expect(found).toMatchObject({ method: 'hybrid', warnings: [expect.stringContaining('no language model')] })
    expect(namesOf(found)[0]).toBe('law.md')
  })

  it('R10: is embedded once for one caller and tenant, and anew for any other', async () => {
    const query = 'How much does a crane lift?'
    const both = await userCaller(stack, 'both@bulkhead.example')
    const inHarbor = caller(stack, { ...both.headers, 'x-tenant-id': HARBOR })
    const inMeridian = caller(stack, { ...both.headers, 'x-tenant-id': MERIDIAN })
    const askers = [member, viewer, stranger, inHarbor, inMeridian]
    for (const [index, asker] of askers.entries()) {
      const found = await search(asker, { query })
      expect(server.embedded).toEqual(Array(index + 1).fill(`stub-a: ${query}`))
      expect(await search(asker, { query })).toMatchObject({ results: found['results'] })
      expect(server.embedded).toHaveLength(index + 1)
    }
    expect(sourcesOf(await search(member, { query }))).toContain(cranes['id'])
    expect(sourcesOf(await search(inMeridian, { query }))).not.toContain(cranes['id'])
    await search(member, { query, top_k: 1, method: 'vector_search' })
    expect(server.embedded).toHaveLength(askers.length)
    await search(member, { query: `${query}!` })
    expect(server.embedded.at(-1)).toBe(`stub-a: ${query}!`)
  })

  it('of words, or by somebody who may see nothing, is not embedded', async () => {
    await search(member, { query: 'hemp', method: 'full_text' })
    await search(await userCaller(stack, 'outsider@bulkhead.example'), { query: 'hemp' }, 403)
    expect(server.embedded).toEqual([])
  })

  it('R10: that is remembered gives nobody back what they lost: the database is asked each time', async () => {
    const query = 'Are there wages?'
    expect(namesOf(await search(member, { query, top_k: 50 }))).toContain('wages.md')
    await stack.db.query(`update ai.sources set visibility = 'private', owner_id = 'a0000000-0000-4000-8000-000000000002' where name = 'wages.md'`) // prettier-ignore
    expect(namesOf(await search(member, { query, top_k: 50 }))).not.toContain('wages.md')
    expect(server.embedded).toEqual([`stub-a: ${query}`])
    await stack.db.query(
      `update ai.sources set owner_id = 'a0000000-0000-4000-8000-000000000003' where name = 'wages.md'`,
    )
    expect(namesOf(await search(member, { query, top_k: 50 }))).toContain('wages.md')
  })
})

describe('two models at once', () => {
  beforeAll(async () => {
    const rows = await stack.db.query<{ id: string; text: string }>(
      'select id, text from ai.chunks where knowledge_base_id = $1',
      [second],
    )
    for (const { id, text } of rows) {
      const [vector = []] = await createOfflineEmbedder().embed([text])
      await stack.db.query(`select private.store_vectors('stub-b', array[$1::uuid], array[$2::extensions.vector])`, [
        id,
        JSON.stringify(vector.toReversed()),
      ])
    }
    await setModel(second, 'stub-b')
  })

  it('R12: are each asked in their own space, and what they find becomes one list', async () => {
    const query = 'The buoys of the harbour are red.'
    const found = await search(member, { query, top_k: 50, knowledge_base_ids: [first, second] })
    expect(found['models'].toSorted()).toEqual(['stub-a', 'stub-b'])
    expect(server.embedded.toSorted()).toEqual([`stub-a: ${query}`, `stub-b: ${query}`])
    expect(sourcesOf(found)).toEqual(expect.arrayContaining([cranes['id'], buoys['id']]))
    const buoy = found['results'].find((hit: Json) => hit['source_id'] === buoys['id'])
    // In the other space, where the axes run backwards, the same words would be far away.
    expect(buoy['vector_score']).toBeGreaterThan(0.8)
    const scores = found['results'].map((hit: Json) => hit['score'])
    expect(scores).toEqual(scores.toSorted((a: number, b: number) => b - a))
    expect(scores[0]).toBe(1)
    expect((await search(member, { query, knowledge_base_ids: [second] }))['models']).toEqual(['stub-b'])
    expect((await search(member, { query, knowledge_base_ids: [first] }))['models']).toEqual(['stub-a'])
  })

  it('count as one list for caps and numbers', async () => {
    const found = await search(member, { query: 'harbour', top_k: 2, max_per_source: 1, deduplicate: true })
    expect(found['results']).toHaveLength(2)
    expect(new Set(sourcesOf(found)).size).toBe(2)
  })

  it('are searched by words where nobody can embed with one of them', async () => {
    for (const model of ['stub-gone', 'gte-small']) {
      await setModel(second, model)
      const found = await search(member, {
        query: `red buoys, ${model}`,
        knowledge_base_ids: [first, second],
        top_k: 50,
      })
      expect(found['models']).toEqual(['stub-a'])
      expect(found['warnings']).toEqual([
        `Nobody here can embed with "${model}"; what has its vectors was searched by words alone.`,
      ])
      const buoy = found['results'].find((hit: Json) => hit['source_id'] === buoys['id'])
      expect(buoy).toMatchObject({ vector_score: null, text_score: expect.any(Number) })
      const alone = await search(member, { query: 'buoys', knowledge_base_ids: [second], method: 'vector_search' })
      expect(alone).toMatchObject({ models: [], warnings: found['warnings'] })
      expect(sourcesOf(alone)).toEqual([buoys['id']])
    }
    await setModel(second, 'stub-b')
  })

  it('R12: do not mix when the provider’s vectors do not fit those that are stored', async () => {
    await stack.db.query(
      `select private.store_vectors('bulkhead-hash-384', array(select id from ai.chunks where knowledge_base_id = $1), array['[1,2,3]'::extensions.vector])`,
      [second],
    )
    await setModel(second, 'bulkhead-hash-384')
    const refusal = await search(member, { query: 'buoys', knowledge_base_ids: [second] }, 502)
    expect(refusal).toMatchObject({ code: 'upstream_failed', error: 'The embedding provider sent a vector that cannot be compared.' }) // prettier-ignore
    await setModel(second, 'stub-b')
  })
})

describe('a reranker', () => {
  const query = 'What is in the harbour?'
  const byRope = scoring((document) => (document.includes('ropes') ? 0.9 : document.includes('cranes') ? 0.3 : 0.1))
  beforeAll(async () => {
    const retrieval_config = { reranker: { model: 'kb-reranker', candidate_count: 10 } }
    await member.json(200, 'PATCH', `/api/knowledge-bases/${first}`, { json: { retrieval_config } })
  })

  it('named by the knowledge base puts its results in order', async () => {
    server.answer(byRope)
    const found = await search(member, { query, knowledge_base_ids: [first], top_k: 2, explain: true })
    expect(namesOf(found)).toEqual(['ropes.md', 'cranes.md'])
    expect(found).toMatchObject({ reranker: 'kb-reranker' })
    expect(found['results'].map((hit: Json) => hit['meta']['reranker_score'])).toEqual([0.9, 0.3])
    expect(found['results'][0]).toMatchObject({ score: 1, explanation: { reranker: { rank: 1, score: 0.9 } } })
    const [sent] = server.reranks
    expect(sent?.body).toMatchObject({ model: 'kb-reranker', query, top_n: 2 })
    expect(sent?.body['documents']).toHaveLength(3)
    expect(sent?.headers.authorization).toBe('Bearer rerank-key')
  })

  it('sees what the caller sees, and nothing else', async () => {
    await search(viewer, { query, knowledge_base_ids: [first] })
    const documents = JSON.stringify(server.reranks.map((request) => request.body['documents']))
    expect(documents).toContain('hemp')
    expect(documents).not.toContain('secret')
    await search(member, { query, knowledge_base_ids: [first] })
    expect(JSON.stringify(server.reranks.at(-1)?.body['documents'])).toContain('secret')
  })

  it('is asked where the request or the knowledge base says so, and only there', async () => {
    await search(member, { query, knowledge_base_ids: [first], rerank: false })
    await search(member, { query, knowledge_base_ids: [second] })
    await search(member, { query, knowledge_base_ids: [first, second] })
    await search(member, { query })
    expect(server.reranks).toEqual([])
    const asked = await search(member, { query, knowledge_base_ids: [second], rerank: true })
    expect(asked).toMatchObject({ reranker: 'default' })
    expect(server.reranks.at(-1)?.body).not.toHaveProperty('model')
    await search(member, { query, rerank: { candidate_count: 2 }, top_k: 1 })
    expect(server.reranks.at(-1)?.body['documents']).toHaveLength(2)
  })

  it.each<[string, Parameters<SearchServer['answer']>[0], string]>([
    [
      'refuses',
      (_, response) => void response.writeHead(500).end('rerank-key'),
      'The reranker refused the request (HTTP 500).',
    ],
    ['is slow', () => {}, 'The reranker did not answer in time.'],
    [
      'stops in the middle',
      (_, response) => void response.write('{"results":['),
      'The reranker did not answer in time.',
    ],
    ['hangs up', (_, response) => void response.destroy(), 'The reranker cannot be reached or answered nonsense.'],
    ['talks nonsense', json('<html>'), 'The reranker cannot be reached or answered nonsense.'],
    ['names what is not there', json({ results: [{ index: 99, relevance_score: 1 }] }), 'The reranker answered scores that cannot be used.'], // prettier-ignore
  ])('that %s costs a warning and not the results', async (_name, respond, reason) => {
    const sent = { query, knowledge_base_ids: [first] }
    const plain = await search(member, { ...sent, rerank: false })
    server.answer(respond)
    const found = await search(member, sent)
    expect(found['results']).toEqual(plain['results'])
    expect(found['warnings']).toEqual([`${reason} The results are in their first order.`])
    expect(found['reranker']).toBeNull()
  })

  it('works in the agent API: by the knowledge base, in runs and in chats', async () => {
    server.answer(byRope)
    const path = `/api/knowledge-bases/${first}/search`
    const found = await member.json(200, 'POST', path, { json: { query, top_k: 2 } })
    expect(namesOf(found)).toEqual(['ropes.md', 'cranes.md'])
    expect(found['results'][0]['meta']).toMatchObject({ reranker_score: 0.9, start_char: expect.any(Number) })

    const agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'A' } })
    const run = { message: 'What are ropes made of?', knowledge_bases: [{ id: first, top_k: 1 }] }
    await member.json(200, 'POST', `/api/agents/${agent['id']}/run`, { json: run })
    expect(server.reranks.at(-1)?.body).toMatchObject({ query: run.message, top_n: 1 })

    const chat = { message: 'What are the ropes made of?', agent_id: agent['id'], knowledge_base_ids: [first] }
    const events = await eventsOf(await member.send('POST', '/chat', { json: chat }))
    expect(server.reranks.at(-1)?.body).toMatchObject({ query: chat.message })
    const [citation] = only(events, 'complete')['citations']
    expect(citation).toMatchObject({
      text_excerpt: expect.stringContaining('hemp'),
      item_id: expect.any(String),
      meta: { source_name: 'ropes.md', start_char: expect.any(Number), end_char: expect.any(Number), pages: [1] },
    })
  })
})

describe('agents', () => {
  it('retrieve from each knowledge base by the model it has', async () => {
    const agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'B' } })
    const run = { message: 'Are the buoys of the harbour red?', knowledge_bases: [{ id: first }, { id: second }] }
    const answer = await member.json(200, 'POST', `/api/agents/${agent['id']}/run`, { json: run })
    expect(answer['content']).toContain('red')
    expect(server.embedded.toSorted()).toEqual([`stub-a: ${run.message}`, `stub-b: ${run.message}`])
    server.embedded.length = 0
    const chat = {
      message: 'Are the buoys of the harbour red or green?',
      agent_id: agent['id'],
      knowledge_base_ids: [first, second],
    }
    const events = await eventsOf(await member.send('POST', '/chat', { json: chat }))
    expect(only(events, 'complete')['content']).toContain('red')
    expect(server.embedded.toSorted()).toEqual([`stub-a: ${chat.message}`, `stub-b: ${chat.message}`])
  })

  it('say so in a run when nobody can embed for one of them', async () => {
    await setModel(second, 'stub-gone')
    const agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'C' } })
    const run = { message: 'Red buoys?', knowledge_bases: [{ id: second }] }
    const answer = await member.json(200, 'POST', `/api/agents/${agent['id']}/run`, { json: run })
    expect(answer['warnings']).toEqual([
      'Nobody here can embed with "stub-gone"; what has its vectors was searched by words alone.',
    ])
    expect(answer['retrieved_items']).toBe(1)
    await setModel(second, 'stub-b')
  })
})
