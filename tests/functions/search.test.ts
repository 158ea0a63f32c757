import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBulkhead } from '../../client/index.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, HARBOR, MERIDIAN, caller, serviceCaller, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true })
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let manual: Json
let salary: Json
let copy: Json
let ward: Json
let small: string
let foreign: string

const SECTIONS = ['Berths', 'Cranes', 'Tariffs', 'Pilots', 'Customs', 'Storms', 'Tugs', 'Ropes']
const manualText = SECTIONS.map(
  (name, index) =>
    `# ${name}\n\nThe section on ${name.toLowerCase()} explains rule ${index + 1} for every ship. ` +
    `${name} are looked after by the office at quay ${index + 1}, which opens at seven.\n\n` +
    `Whoever asks about ${name.toLowerCase()} 👋 is sent there. Forms for ${name.toLowerCase()} are green.\n`,
).join('\n')

const search = (user: FunctionsCaller, json: object, status = 200) => user.json(status, 'POST', '/search', { json })
const without = ({ request_id: _id, ...rest }: Json) => rest
const sourcesOf = (found: Json): string[] => found['results'].map((hit: Json) => hit['source_id'])

beforeAll(async () => {
  admin = await userCaller(stack, 'admin@harbor.example')
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  const config = { name: 'Small chunks', indexing_config: { chunk_size: 50, overlap: 15 } }
  small = (await member.json(201, 'POST', '/api/knowledge-bases', { json: config }))['id']
  const fields = { knowledge_base_id: small }
  manual = await uploadAndIndex(member, 'manual.md', manualText, { ...fields, metadata: '{"kind":"manual"}' })
  salary = await uploadAndIndex(member, 'salary.md', '# Salary\n\nThe pilot of quay four earns ninety.\n', {
    ...fields,
    visibility: 'private',
  })
  copy = await uploadAndIndex(member, 'notice.md', '# Notice\n\nThe harbour is closed during storms.\n', fields)
  await uploadAndIndex(member, 'notice-2.md', '# Notice\n\nThe harbour is closed during storms.', fields)
  ward = await uploadAndIndex(stranger, 'ward.md', '# Ward\n\nThe pilot of ward three explains the tariffs.\n')
  const bases = await stranger.json(200, 'GET', '/api/knowledge-bases')
  foreign = bases['knowledge_bases'][0].id
})

/** The source as offsets count in it, as its reader sees it. */
async function joinedText(sourceId: string): Promise<string> {
  const reader = await stack.signIn('member@harbor.example')
  const { data } = await reader.schema('ai').from('source_pages').select('text').eq('source_id', sourceId).order('page_number') // prettier-ignore
  return (data ?? []).map((page: { text: string }) => page.text).join('\n\n')
}

describe('POST /search', () => {
  it('finds by text, and says where, how well and by which model', async () => {
    const found = await search(viewer, { query: 'Who looks after the cranes?', knowledge_base_ids: [small] })
    expect(Object.keys(found).sort()).toEqual(['method', 'models', 'query', 'request_id', 'reranker', 'results'])
    expect(found).toMatchObject({
      query: 'Who looks after the cranes?',
      method: 'hybrid',
      models: ['bulkhead-hash-384'],
      reranker: null,
    })
    expect(found['results']).toHaveLength(5)
    const [best] = found['results']
    expect(Object.keys(best).sort()).toEqual([
      'chunk_id', 'chunk_index', 'end_char', 'knowledge_base_id', 'meta', 'pages', 'score', 'source_id', 'source_name',
      'start_char', 'text', 'text_score', 'vector_score',
    ]) // prettier-ignore
    expect(best).toMatchObject({
      source_id: manual['id'],
      source_name: 'manual.md',
      knowledge_base_id: small,
      score: 1,
      pages: [1],
      meta: { heading_path: ['Cranes'] },
      vector_score: expect.any(Number),
      text_score: expect.any(Number),
    })
    expect(best['text']).toBe((await joinedText(manual['id'])).slice(best['start_char'], best['end_char']))
  })

  it.each(['hybrid', 'vector_search', 'full_text'])('searches by %s', async (method) => {
    const found = await search(member, { query: 'office for tugs', method, top_k: 3 })
    expect(found).toMatchObject({ method, models: method === 'full_text' ? [] : ['bulkhead-hash-384'] })
    expect(found['results'][0]['text']).toContain('tugs')
    expect(found['results'].length).toBeLessThanOrEqual(3)
  })

  it('fuses as asked, and explains', async () => {
    for (const fusion of ['rrf', 'weighted']) {
      const found = await search(member, { query: 'rule for ropes', fusion, explain: true, vector_weight: 0.4 })
      const { explanation } = found['results'][0]
      expect(explanation).toMatchObject({
        fusion,
        vector: { rank: expect.any(Number) },
        text: { rank: expect.any(Number) },
      })
      expect(explanation['text']['terms'].join(' ')).toContain('rope')
    }
    const plain = await search(member, { query: 'rule for ropes' })
    expect(plain['results'][0]).not.toHaveProperty('explanation')
  })

  it('keeps to sources, metadata, threshold, equal texts and numbers per source', async () => {
    expect(new Set(sourcesOf(await search(member, { query: 'pilot', source_ids: [salary['id']] })))).toEqual(
      new Set([salary['id']]),
    )
    const kind = await search(member, { query: 'storms', filter_metadata: { kind: 'manual' }, top_k: 50 })
    expect(new Set(sourcesOf(kind))).toEqual(new Set([manual['id']]))
    const strict = { query: 'quantum physics', method: 'vector_search', similarity_threshold: 0.9 }
    expect((await search(member, strict))['results']).toEqual([])
    const capped = await search(member, { query: 'rule', max_per_source: 1, top_k: 50, knowledge_base_ids: [small] })
    expect(sourcesOf(capped)).toHaveLength(new Set(sourcesOf(capped)).size)
    const best = { query: 'rule for ships', top_k: 2, knowledge_base_ids: [small] }
    expect(new Set(sourcesOf(await search(member, best))).size).toBe(1)
    expect(new Set(sourcesOf(await search(member, { ...best, min_per_source: 1 }))).size).toBe(2)
    const texts = async (deduplicate: boolean) =>
      (await search(member, { query: 'harbour closed', deduplicate, top_k: 50 }))['results'].map(
        (hit: Json) => hit['text'],
      )
    const all = await texts(false)
    expect(new Set(all).size).toBeLessThan(all.length)
    const distinct = await texts(true)
    expect(distinct).toHaveLength(new Set(all).size)
  })

  it('takes the settings of the knowledge base it is asked about', async () => {
    const config = { method: 'full_text', top_k: 2, max_per_source: 1, reranker: { model: 'some-reranker' } }
    const json = { name: 'Set', retrieval_config: config }
    const id = (await member.json(201, 'POST', '/api/knowledge-bases', { json }))['id']
    await uploadAndIndex(member, 'lamps.md', '# Lamps\n\nLamps are lit at dusk.\n', { knowledge_base_id: id })
    const found = await search(member, { query: 'lamps', knowledge_base_ids: [id] })
    expect(found).toMatchObject({ method: 'full_text', models: [], reranker: null })
    expect(found['warnings']).toEqual(['No reranker is configured; the results are in their first order.'])
    expect(
      (await search(member, { query: 'lamps', knowledge_base_ids: [id], rerank: false }))['warnings'],
    ).toBeUndefined()
    const both = await search(member, { query: 'lamps', knowledge_base_ids: [id, small] })
    expect(both).toMatchObject({ method: 'hybrid', models: ['bulkhead-hash-384'] })
  })
})

describe('who searches', () => {
  const query = 'What does the pilot of quay four earn?'

  it('finds what is theirs to see and nothing else', async () => {
    expect(sourcesOf(await search(member, { query, top_k: 50 }))).toContain(salary['id'])
    for (const other of [viewer, admin]) {
      const found = await search(other, { query, top_k: 100 })
      expect(sourcesOf(found)).toContain(manual['id'])
      expect(JSON.stringify(found)).not.toContain('ninety')
    }
    const abroad = await search(stranger, { query, top_k: 100 })
    expect(new Set(sourcesOf(abroad))).toEqual(new Set([ward['id']]))
    expect((await search(member, { query, source_ids: [ward['id']] }))['results']).toEqual([])
  })

  it('learns the same of a foreign and of an absent knowledge base', async () => {
    const refusals = await Promise.all(
      [[foreign], [ABSENT], [small, foreign], [small, ABSENT]].map((ids) =>
        search(member, { query, knowledge_base_ids: ids }, 404),
      ),
    )
    for (const refusal of refusals) {
      expect(without(refusal)).toEqual({ error: 'Knowledge base not found', code: 'not_found' })
    }
    const narrowed = { ...member.headers, 'x-tenant-id': MERIDIAN }
    await search(caller(stack, narrowed), { query, knowledge_base_ids: [small] }, 404)
  })

  it('searches one tenant at a time', async () => {
    const both = await userCaller(stack, 'both@bulkhead.example')
    expect(await search(both, { query }, 400)).toMatchObject({
      code: 'tenant_required',
      hint: expect.stringMatching(/x-tenant-id/),
    })
    expect(await search(both, { query, knowledge_base_ids: [small, foreign] }, 400)).toMatchObject({
      code: 'tenant_required',
    })
    expect(sourcesOf(await search(both, { query, knowledge_base_ids: [small] }))).toContain(manual['id'])
    for (const [tenant, own, other] of [
      [HARBOR, manual, ward],
      [MERIDIAN, ward, manual],
    ] as const) {
      // prettier-ignore
      const found = await search(caller(stack, { ...both.headers, 'x-tenant-id': tenant }), { query, top_k: 100 })
      expect(sourcesOf(found)).toContain(own['id'])
      expect(sourcesOf(found)).not.toContain(other['id'])
    }
    for (const tenant of [MERIDIAN, ABSENT]) {
      const elsewhere = caller(stack, { ...member.headers, 'x-tenant-id': tenant })
      expect(await search(elsewhere, { query }, 403)).toMatchObject({ code: 'forbidden' })
    }
  })

  it('must be somebody', async () => {
    await search(caller(stack, { apikey: stack.keys.publishable }), { query }, 401)
    const anonymous = { apikey: stack.keys.publishable, authorization: `Bearer ${stack.keys.publishable}` }
    await search(caller(stack, anonymous), { query }, 401)
    await search(await userCaller(stack, 'outsider@bulkhead.example'), { query }, 403)
    const outsider = await userCaller(stack, 'outsider@bulkhead.example')
    await search(outsider, { query, knowledge_base_ids: [small] }, 404)
  })

  it('may be a trusted backend, in one tenant', async () => {
    const found = await search(serviceCaller(stack), { query, knowledge_base_ids: [small], top_k: 50 })
    expect(sourcesOf(found)).toContain(salary['id'])
    await search(serviceCaller(stack), { query, knowledge_base_ids: [ABSENT] }, 404)
    await search(serviceCaller(stack, { 'x-tenant-id': MERIDIAN }), { query, knowledge_base_ids: [small] }, 404)
    const asViewer = { 'x-act-as-user': 'a0000000-0000-4000-8000-000000000004' }
    const seen = await search(serviceCaller(stack, asViewer), { query, knowledge_base_ids: [small], top_k: 50 })
    expect(sourcesOf(seen)).toContain(manual['id'])
    expect(sourcesOf(seen)).not.toContain(salary['id'])
  })

  it('finds nothing more once they are removed, whatever their token says', async () => {
    const leaving = await userCaller(stack, 'owner@meridian.example')
    const [row] = await stack.db.query<Json>(
      `insert into public.memberships (tenant_id, user_id, role) values ($1, 'b0000000-0000-4000-8000-000000000001', 'viewer') returning user_id`,
      [HARBOR],
    )
    const inHarbor = caller(stack, { ...leaving.headers, 'x-tenant-id': HARBOR })
    // Their token was made when they were in one tenant only, and names it.
    const wide = await userCaller(stack, 'owner@meridian.example', { 'x-tenant-id': HARBOR })
    expect(sourcesOf(await search(wide, { query }))).toContain(manual['id'])
    await stack.db.query('delete from public.memberships where tenant_id = $1 and user_id = $2', [
      HARBOR,
      row?.['user_id'],
    ])
    expect(await search(wide, { query }, 403)).toMatchObject({ code: 'forbidden' })
    await search(wide, { query, knowledge_base_ids: [small] }, 404)
    await search(inHarbor, { query }, 403)
  })
})

describe('the context of a search', () => {
  /** Each span holds the same characters in the context and in its source. */
  async function expectExact(found: Json): Promise<void> {
    for (const entry of found['context']['entries']) {
      const joined = await joinedText(entry['source_id'])
      for (const { text_start, text_end, start_char, end_char } of entry['spans']) {
        expect(found['context']['text'].slice(text_start, text_end)).toBe(joined.slice(start_char, end_char))
        expect(text_end).toBeGreaterThan(text_start)
      }
    }
  }

  it('has the results by document under their numbers', async () => {
    const found = await search(member, { query: 'storms', context: 'chunks', knowledge_base_ids: [small], top_k: 4 })
    expect(found['context']['text']).toMatch(
      /^--- Document: ".+" ---\n\n\[1\]( \[(Section: [^\n]+ \| )?Page\(s\): 1\])?\n/,
    )
    expect(found['context']['entries'].map((entry: Json) => [entry['key'], entry['chunk_id']])).toEqual(
      found['results'].map((hit: Json, index: number) => [index + 1, hit['chunk_id']]),
    )
    expect(found['context']['left_out']).toBe(0)
    await expectExact(found)
  })

  it('widens a result by its neighbours, each character once', async () => {
    const query = 'rule 4 for pilots'
    const bare = await search(member, { query, source_ids: [manual['id']], top_k: 1 })
    const [hit] = bare['results']
    for (const neighbors of [1, 2, 5]) {
      const json = { query, source_ids: [manual['id']], top_k: 1, expand: { neighbors } }
      const found = await search(member, json)
      expect(found['results']).toEqual(bare['results'])
      const [entry] = found['context']['entries']
      expect(entry['spans'].map((span: Json) => span['chunk_id'])).toContain(hit['chunk_id'])
      const ends = entry['spans'].map((span: Json) => [span['start_char'], span['end_char']])
      const own = entry['spans'].find((span: Json) => span['chunk_id'] === hit['chunk_id'])
      expect([own['start_char'], own['end_char']]).toEqual([hit['start_char'], hit['end_char']])
      for (let index = 1; index < ends.length; index++)
        expect(ends[index][0]).toBeGreaterThanOrEqual(ends[index - 1][1])
      expect(ends[0][0]).toBeLessThan(hit['start_char'])
      expect(ends.at(-1)[1]).toBeGreaterThan(hit['end_char'])
      await expectExact(found)
    }
  })

  it('widens results to their pages, and shows a page once', async () => {
    const found = await search(member, { query: 'office for ropes and tugs', source_ids: [manual['id']], context: 'pages', top_k: 5 }) // prettier-ignore
    expect(found['results'].length).toBeGreaterThan(1)
    const { entries, text } = found['context']
    expect(entries[0]['spans']).toMatchObject([{ page: 1, start_char: 0, chunk_id: found['results'][0]['chunk_id'] }])
    expect(text.split('The section on ropes explains')).toHaveLength(2)
    expect(text).toContain('(Content already shown above.)')
    expect(entries.slice(1).every((entry: Json) => entry['is_shown_above'])).toBe(true)
    await expectExact(found)
  })

  it('keeps to its allowance and says what it left out', async () => {
    for (const max_context_tokens of [50, 120, 400]) {
      for (const shape of [{ expand: { neighbors: 3 } }, { context: 'pages' }]) {
        const found = await search(member, { query: 'rule for every ship', top_k: 8, max_context_tokens, ...shape })
        const { text, tokens, left_out, entries } = found['context']
        expect(text.length).toBeLessThanOrEqual(max_context_tokens * 4)
        expect(tokens).toBeLessThanOrEqual(max_context_tokens)
        expect(entries.length).toBe(found['results'].length - left_out)
        expect(entries.length).toBeGreaterThan(0)
        const warnings = left_out > 0 ? [`${left_out} of the results did not fit into max_context_tokens.`] : undefined
        expect(found['warnings']).toEqual(warnings)
        await expectExact(found)
      }
    }
  })
})

describe('POST /api/knowledge-bases/{id}/search', () => {
  const path = () => `/api/knowledge-bases/${small}/search`

  it('is the same search, with what the agent API has always answered', async () => {
    const json = { query: 'Who looks after the cranes?', top_k: 4 }
    const found = await member.json(200, 'POST', path(), { json })
    const same = await search(member, { ...json, knowledge_base_ids: [small] })
    expect(found['results'].map((hit: Json) => [hit['chunk_id'], hit['score']])).toEqual(
      same['results'].map((hit: Json) => [hit['chunk_id'], hit['score']]),
    )
    expect(Object.keys(found).sort()).toEqual(['query', 'results', 'retrieval_method', 'total_results'])
    expect(found).toMatchObject({ retrieval_method: 'auto', total_results: 4 })
    expect(found['results'][0]['meta']).toMatchObject({ pages: [1], start_char: expect.any(Number) })
  })

  it('takes the options of the function, and ignores a vector aloud', async () => {
    const json = {
      query: 'storms',
      explain: true,
      context: 'pages',
      max_per_source: 1,
      query_embedding: [1],
      top_k: 20,
    }
    const found = await member.json(200, 'POST', path(), { json })
    expect(found['warnings']).toEqual(['The field "query_embedding" is not known here and was ignored.'])
    expect(found['results'][0]['explanation']).toMatchObject({ fusion: 'rrf' })
    expect(found['context']['text']).toContain('[1]')
    expect(sourcesOf(found)).toHaveLength(new Set(sourcesOf(found)).size)
    await member.json(400, 'POST', path(), { json: { query: 'x', context: 'pages', expand: { neighbors: 2 } } })
  })

  it('runs on the language and settings a knowledge base is given', async () => {
    const create = (json: object, status = 201) => member.json(status, 'POST', '/api/knowledge-bases', { json })
    const german = await create({ name: 'Deutsch', language: 'german', embedding_model: 'mine' })
    expect(german['warnings']).toEqual(['embedding_model was ignored: it is the model of the vectors that are stored.'])
    const where = `/api/knowledge-bases/${german['id']}`
    expect(await member.json(200, 'GET', where)).toMatchObject({ language: 'german', embedding_model: null })
    const text = '# Kräne\n\nDie Häuser an den Kränen wurden gestrichen.\n'
    await uploadAndIndex(member, 'kran.md', text, { knowledge_base_id: german['id'] })
    expect(await member.json(200, 'GET', where)).toMatchObject({ embedding_model: 'bulkhead-hash-384' })
    const words = { query: 'Haus', retrieval_method: 'full_text' }
    expect((await member.json(200, 'POST', `${where}/search`, { json: words }))['total_results']).toBe(1)

    const patched = await member.json(200, 'PATCH', where, {
      json: { retrieval_config: { ts_language: 'french' }, embedding_model: 'x' },
    })
    expect(patched).toMatchObject({ language: 'french', embedding_model: 'bulkhead-hash-384' })
    expect((await create({ name: 'Latin', language: 'latin' }, 400))['error']).toContain('language must be one of')
    expect(
      (await create({ name: 'L', retrieval_config: { ts_language: 'pg_catalog.english' } }, 400))['error'],
    ).toContain('language must be one of')
    for (const retrieval_config of [
      { reranker: 'm' },
      { max_per_source: 0 },
      { reranker: { model: 'm', candidate_count: 500 } },
    ]) {
      await create({ name: 'R', retrieval_config }, 400)
    }
    await viewer.json(403, 'PATCH', where, { json: { language: 'german' } })
  })
})

describe('the client', () => {
  it('searches through the function', async () => {
    const bulkhead = createBulkhead(await stack.signIn('member@harbor.example'))
    const [best] = await bulkhead.search({ query: 'Who looks after the cranes?', knowledgeBaseIds: [small] })
    expect(best).toMatchObject({ source_id: manual['id'], score: 1, pages: [1], chunk_index: expect.any(Number) })
    expect(await bulkhead.search({ query: 'storms', knowledgeBaseId: small, sourceIds: [copy['id']] })).toHaveLength(1)
    const answer = await bulkhead.searchWithContext({
      query: 'storms',
      topK: 3,
      method: 'hybrid',
      fusion: 'weighted',
      vectorWeight: 0.6,
      similarityThreshold: 0,
      filterMetadata: { kind: 'manual' },
      maxPerSource: 2,
      deduplicate: true,
      rerank: true,
      neighbours: 1,
      maxContextTokens: 800,
      explain: true,
    })
    expect(answer.results[0]?.explanation).toMatchObject({ fusion: 'weighted' })
    expect(answer.context?.text).toContain('[1]')
    expect(answer.context?.entries[0]?.spans[0]).toMatchObject({ page: 1 })
    expect(answer).toMatchObject({ method: 'hybrid', models: ['bulkhead-hash-384'], reranker: null })
    expect(answer.warnings).toEqual(['No reranker is configured; the results are in their first order.'])
    await expect(bulkhead.search({ query: ' ' })).rejects.toMatchObject({ code: 'invalid_request' })
    const both = await stack.signIn('both@bulkhead.example')
    await expect(createBulkhead(both).search({ query: 'x' })).rejects.toMatchObject({ code: 'tenant_required' })
    expect(await createBulkhead(both, { tenantId: HARBOR }).search({ query: 'storms' })).not.toEqual([])
  })
})

describe('a knowledge base of whole documents', () => {
  const setStrategy = (strategy: string, top_k: number) =>
    member.json(200, 'PATCH', `/api/knowledge-bases/${small}`, {
      json: { indexing_config: { strategy, chunk_size: 50, overlap: 15 }, retrieval_config: { top_k } },
    })
  beforeAll(async () => void (await setStrategy('full_document', 3)))
  afterAll(async () => void (await setStrategy('chunk_embed', 5)))
  const asked = { query: 'Who looks after the cranes and the pilots?' }

  it('gives each document once and whole, and says where it was found', async () => {
    const { results } = await search(member, { ...asked, knowledge_base_ids: [small], top_k: 10 })
    expect(results.map((hit: Json) => hit['source_name']).sort()).toEqual([
      'manual.md', 'notice-2.md', 'notice.md', 'salary.md',
    ]) // prettier-ignore
    const [best] = results
    const text = await joinedText(manual['id'])
    expect(best).toMatchObject({ source_id: manual['id'], text, start_char: 0, end_char: text.length, pages: [1] })
    const { start_char: from, end_char: to } = best['meta'].passage
    expect(text.slice(from, to)).toMatch(/cranes|pilots/i)
    expect(to - from).toBeLessThan(text.length)
  })

  it('gives as many as it is set to, also by the agent API', async () => {
    expect((await search(member, { ...asked, knowledge_base_ids: [small] }))['results']).toHaveLength(3)
    const { results } = await member.json(200, 'POST', `/api/knowledge-bases/${small}/search`, { json: asked })
    expect(results).toHaveLength(3)
    expect(results[0]).toMatchObject({ source_id: manual['id'], text: await joinedText(manual['id']) })
  })

  it('gives nobody a document that is not theirs to read', async () => {
    const request = { query: 'What does the pilot of quay four earn?', knowledge_base_ids: [small], top_k: 10 }
    expect(sourcesOf(await search(member, request))).toContain(salary['id'])
    const seen = await search(viewer, request)
    expect(sourcesOf(seen)).not.toContain(salary['id'])
    expect(JSON.stringify(seen)).not.toContain('ninety')
  })
})
