import { beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, fileForm, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true })
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let source: Json
let secret: Json
let own: Json
beforeAll(async () => {
  admin = await userCaller(stack, 'admin@harbor.example')
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  own = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Own', description: 'd' } })
  const fields = { knowledge_base_id: own['id'] }
  source = await uploadAndIndex(member, 'gates.md', '# Gates\n\nGate B opens at seven for reefer containers.\n', {
    ...fields,
    metadata: '{"area":"b"}',
  })
  secret = await uploadAndIndex(member, 'salary.md', '# Salary\n\nThe gate keeper earns ninety.\n', {
    ...fields,
    visibility: 'private',
  })
})
const without = ({ request_id: _id, ...rest }: Json) => rest

describe('knowledge bases', () => {
  it('have defaults, and are changed whole', async () => {
    const made = await member.json(201, 'POST', '/api/knowledge-bases', {
      json: { name: 'K', indexing_config: { chunk_size: 200 }, retrieval_config: { top_k: 3 }, colour: 'red' },
    })
    expect(made).toEqual({
      id: expect.any(String),
      name: 'K',
      description: null,
      indexing_config: { strategy: 'chunk_embed', chunk_size: 200, overlap: 50 },
      retrieval_config: { method: 'hybrid', top_k: 3, vector_weight: 0.5 },
      warnings: ['The field "colour" is not known here and was ignored.'],
    })
    const changed = await member.json(200, 'PATCH', `/api/knowledge-bases/${made['id']}`, {
      json: { description: 'x' },
    })
    expect(changed).toMatchObject({
      name: 'K',
      description: 'x',
      chunk_count: 0,
      indexed_sources: [],
      source_counts: { total: 0 },
    })
    expect(await member.json(200, 'DELETE', `/api/knowledge-bases/${made['id']}`)).toEqual({
      message: 'Knowledge base deleted',
    })
    await member.json(404, 'GET', `/api/knowledge-bases/${made['id']}`)
  })

  it('of whole documents are made, and say what they do otherwise', async () => {
    const json = { name: 'Whole', indexing_config: { strategy: 'full_document', summary_model: 'gpt-5-mini' } }
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json })
    expect(made).toMatchObject({
      indexing_config: { strategy: 'full_document', summary_model: 'gpt-5-mini', chunk_size: 400 },
      retrieval_config: { method: 'hybrid', top_k: 3 },
      warnings: [expect.stringContaining('full_document is indexed without summaries of documents')],
    })
    const path = `/api/knowledge-bases/${made['id']}`
    const changed = await member.json(200, 'PATCH', path, { json: { indexing_config: { strategy: 'chunk_embed' } } })
    expect(changed['indexing_config'].strategy).toBe('chunk_embed')
    const plain = { name: 'Plain', indexing_config: { strategy: 'full_document', summary_model: null } }
    expect((await member.json(201, 'POST', '/api/knowledge-bases', { json: plain }))['warnings']).toBeUndefined()
  })

  it.each([
    [{ strategy: 'page_index' }, { if_add_node_summary: 'yes' }, { method: 'tree_search' }, ['no language model']],
    [{ strategy: 'page_index', extra: { if_add_node_summary: 'no' } }, { if_add_node_summary: 'no' }, {}, ['model']],
    [{ strategy: 'graph_index', chunk_size: 300 }, { chunk_size: 300 }, { method: 'hybrid' }, ['cannot be indexed']],
    [
      { strategy: 'doc2json', json_schema: { fields: [{ name: 'berth', type: 'number' }] }, use_images: true },
      { window_size: 4000, window_overlap: 200, pages_per_window: 3 },
      { method: 'hybrid', top_k: 5 },
      ['cannot be indexed'],
    ],
  ])(
    'of %j have the defaults of their strategy, and say what is missing',
    async (sent, config, retrieval, warnings) => {
      const json = { name: 'Strategy', indexing_config: sent }
      const made = await member.json(201, 'POST', '/api/knowledge-bases', { json })
      expect(made).toMatchObject({ indexing_config: { ...sent, ...config }, retrieval_config: retrieval })
      expect(made['warnings']).toEqual(warnings.map((text) => expect.stringContaining(text)))
      const shown = await member.json(200, 'GET', `/api/knowledge-bases/${made['id']}`)
      expect(shown).toMatchObject({ indexing_config: made['indexing_config'], drift: null })
    },
  )

  it('keep the retrieval that was asked for, over what their strategy has', async () => {
    const json = { name: 'Tree', indexing_config: { strategy: 'page_index' }, retrieval_config: { top_k: 7 } }
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json })
    expect(made['retrieval_config']).toMatchObject({ method: 'tree_search', top_k: 7, vector_weight: 0.5 })
    const path = `/api/knowledge-bases/${made['id']}`
    const changed = await member.json(200, 'PATCH', path, { json: { retrieval_config: { top_k: 8 } } })
    expect(changed['retrieval_config']).toMatchObject({ method: 'tree_search', top_k: 8 })
    const words = await member.json(200, 'PATCH', path, { json: { retrieval_config: { method: 'full_text' } } })
    expect(words['retrieval_config']).toMatchObject({ method: 'full_text', top_k: 5 })
    const whole = { indexing_config: { strategy: 'full_document' }, retrieval_config: { method: 'hybrid' } }
    expect((await member.json(200, 'PATCH', path, { json: whole }))['retrieval_config']).toMatchObject({ top_k: 3 })
  })

  it('list what each strategy is made with, and whether it works here', async () => {
    const { strategies } = await viewer.json(200, 'GET', '/api/config/kb-defaults')
    expect(Object.keys(strategies)).toEqual(['chunk_embed', 'full_document', 'page_index', 'graph_index', 'doc2json'])
    expect(strategies.page_index).toMatchObject({
      indexing_config: { if_add_node_summary: 'yes' },
      default_method: 'tree_search',
      model: 'optional',
      available: true,
    })
    expect(strategies.doc2json).toMatchObject({ default_method: 'hybrid', model: 'required', available: false })
    expect(strategies.full_document).toMatchObject({ top_k: 3, model: 'optional', available: true })
  })

  it('name the sources that were indexed with other settings, until they are indexed anew', async () => {
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Drift' } })
    const path = `/api/knowledge-bases/${made['id']}`
    await uploadAndIndex(member, 'drift.md', '# Drift\n\nThe buoy drifts.\n', { knowledge_base_id: made['id'] })
    const { indexed_sources: indexed } = await member.json(200, 'GET', path)
    const drift = { count: 1, indexed_source_ids: [indexed[0].id] }
    const changed = await member.json(200, 'PATCH', path, { json: { indexing_config: { chunk_size: 200 } } })
    expect(changed['drift']).toEqual(drift)
    expect((await viewer.json(200, 'GET', path))['drift']).toEqual(drift)
    await member.json(200, 'POST', `${path}/reindex`, { json: { indexed_source_ids: drift.indexed_source_ids } })
    await eventually(async () => expect((await member.json(200, 'GET', path))['source_counts'].indexed).toBe(1))
    expect((await member.json(200, 'GET', path))['drift']).toBeNull()
  })

  it.each([
    [{}, 'Name is required'],
    [
      { name: 'K', indexing_config: { strategy: 'tree' } },
      'Unknown strategy. This project indexes with chunk_embed, full_document, page_index, graph_index, doc2json.',
    ],
    [{ name: 'K', indexing_config: { strategy: 'doc2json' } }, 'json_schema is required'],
    [
      { name: 'K', indexing_config: { strategy: 'doc2json', json_schema: { fields: [{ name: '__proto__' }] } } },
      'A field name is a letter',
    ],
    [{ name: 'K', indexing_config: { chunk_size: 100, overlap: 100 } }, 'overlap must be smaller than chunk_size'],
    [
      { name: 'K', retrieval_config: { method: 'tree_search' } },
      'tree_search needs knowledge bases of the strategy page_index',
    ],
  ])('refuse %j', async (json, message) => {
    expect((await member.json(400, 'POST', '/api/knowledge-bases', { json }))['error']).toContain(message)
  })

  it('find what they found while a source is extracted and indexed again', async () => {
    const search = `/api/knowledge-bases/${own['id']}/search`
    const ask = { json: { query: 'reefer containers', top_k: 1 } }
    const before = await member.json(200, 'POST', search, ask)
    await member.json(200, 'POST', `/api/sources/${source['id']}/reextract`)
    expect((await member.json(200, 'POST', search, ask)).results[0].text).toBe(before.results[0].text)
    await eventually(async () => {
      const { items } = await member.json(200, 'GET', `/api/knowledge-bases/${own['id']}/sources?q=gates`)
      expect(items[0].index_status).toBe('indexed')
      expect((await member.json(200, 'GET', `/api/sources/${source['id']}`))['extraction_status']).toBe('extracted')
    })
    expect((await member.json(200, 'POST', search, ask)).results[0].text).toBe(before.results[0].text)
  })

  it('are changed by their creator and admins only, and the default one stays', async () => {
    const path = `/api/knowledge-bases/${own['id']}`
    await viewer.json(403, 'PATCH', path, { json: { name: 'No' } })
    await viewer.json(403, 'DELETE', path)
    await viewer.json(403, 'POST', '/api/knowledge-bases', { json: { name: 'No' } })
    await admin.json(200, 'PATCH', path, { json: { name: 'Own' } })
    const { knowledge_bases } = await admin.json(200, 'GET', '/api/knowledge-bases?q=documents')
    await admin.json(409, 'DELETE', `/api/knowledge-bases/${knowledge_bases[0].id}`)
  })

  it('of another tenant look absent', async () => {
    const routes: [string, string, object?][] = [
      ['GET', ''],
      ['PATCH', '', { name: 'x' }],
      ['DELETE', ''],
      ['GET', '/sources'],
      ['POST', '/sources', { source_id: ABSENT }],
    ]
    for (const [method, path, json] of routes) {
      const sent = json ? { json } : {}
      const foreign = await stranger.json(404, method, `/api/knowledge-bases/${own['id']}${path}`, sent)
      expect(without(foreign)).toEqual(
        without(await stranger.json(404, method, `/api/knowledge-bases/${ABSENT}${path}`, sent)),
      )
    }
    const list = await stranger.json(200, 'GET', '/api/knowledge-bases?limit=100')
    expect(list['knowledge_bases'].map((entry: Json) => entry['id'])).not.toContain(own['id'])
  })

  it('show what the caller can see of their content', async () => {
    const mine = await member.json(200, 'GET', `/api/knowledge-bases/${own['id']}`)
    expect(mine).toMatchObject({ source_counts: { indexed: 2, total: 2 }, chunk_count: 2, enrichment_status: 'idle' })
    const theirs = await viewer.json(200, 'GET', `/api/knowledge-bases/${own['id']}`)
    expect(theirs).toMatchObject({ source_counts: { indexed: 1, total: 1 }, chunk_count: 1 })
    const { knowledge_bases } = await viewer.json(200, 'GET', '/api/knowledge-bases?q=own')
    expect(knowledge_bases[0]).toMatchObject({ source_counts: { total: 1 }, chunk_count: 1 })
  })
})

describe('sources of a knowledge base', () => {
  it('are listed with their names, filtered and sorted', async () => {
    const path = `/api/knowledge-bases/${own['id']}/sources`
    const all = await member.json(200, 'GET', `${path}?sort=name&order=desc`)
    expect(all).toMatchObject({ total: 2, limit: 50, offset: 0 })
    expect(all['items'].map((item: Json) => item['source_name'])).toEqual(['salary.md', 'gates.md'])
    expect(all['items'][1]).toMatchObject({
      id: expect.any(String),
      source_id: source['id'],
      index_status: 'indexed',
      indexed_at: expect.any(String),
      stats: expect.any(Object),
      error_message: null,
      file_type: '.md',
      source_created_at: expect.any(String),
    })
    expect((await member.json(200, 'GET', `${path}?q=GATE`))['items']).toHaveLength(1)
    expect((await member.json(200, 'GET', `${path}?status=failed`))['items']).toEqual([])
    await member.json(400, 'GET', `${path}?status=done`)
    expect((await viewer.json(200, 'GET', path))['items']).toHaveLength(1)
  })

  it('must be extracted, visible and of the same tenant to be added', async () => {
    const path = `/api/knowledge-bases/${own['id']}/sources`
    const form = fileForm('broken.pdf', '%PDF-1.7 nothing more')
    const broken = await member.json(201, 'POST', '/sources', { body: form })
    await eventually(async () => {
      expect(await member.json(200, 'GET', `/sources/${broken['id']}`)).toMatchObject({ extraction_status: 'failed' })
    })
    expect(await member.json(400, 'POST', path, { json: { source_id: broken['id'] } })).toMatchObject({
      error: 'Source must be extracted first (status: failed)',
      code: 'source_not_extracted',
    })
    await stack.db.query(`update ai.sources set extraction_status = 'attention_required' where id = $1`, [broken['id']])
    expect(await member.json(400, 'POST', path, { json: { source_id: broken['id'] } })).toMatchObject({
      error: 'Source must be extracted first (status: attention_required)',
      code: 'source_not_extracted',
    })
    await member.json(404, 'POST', path, { json: { source_id: ABSENT } })
    await admin.json(404, 'POST', path, { json: { source_id: secret['id'] } })
    await member.json(400, 'POST', path, { json: { source_id: 'x' } })
    await member.json(400, 'POST', path, { json: {} })
    const foreign = await stranger.json(201, 'POST', '/sources', { body: fileForm('f.md', 'foreign text') })
    await member.json(404, 'POST', path, { json: { source_id: foreign['id'] } })
  })

  it('are taken out by the owner of the source or an admin', async () => {
    const kb = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Short' } })
    const path = `/api/knowledge-bases/${kb['id']}/sources`
    const added = await member.json(201, 'POST', path, { json: { source_id: source['id'] } })
    expect((await member.json(201, 'POST', path, { json: { source_id: source['id'] } }))['id']).toBe(added['id'])
    await viewer.json(403, 'DELETE', `${path}/${added['id']}`)
    expect(await member.json(200, 'DELETE', `${path}/${added['id']}`)).toEqual({
      message: 'Source removed from knowledge base',
      deleted_indexed_source_id: added['id'],
      kb_id: kb['id'],
    })
    await member.json(404, 'DELETE', `${path}/${added['id']}`)
    await member.json(400, 'DELETE', `${path}/x`)
  })
})

describe('search', () => {
  const search = (user: FunctionsCaller, json: object, status = 200, id: string = own['id']) =>
    user.json(status, 'POST', `/api/knowledge-bases/${id}/search`, { json })

  it('finds what the caller may see, by every method', async () => {
    for (const retrieval_method of [undefined, 'hybrid', 'vector_search', 'full_text']) {
      const found = await search(viewer, { query: 'When does gate B open?', retrieval_method })
      expect(found['results'][0]).toMatchObject({ source_id: source['id'], score: expect.any(Number) })
      expect(found['retrieval_method']).toBe(retrieval_method ?? 'auto')
      expect(JSON.stringify(found)).not.toContain('ninety')
    }
    expect(JSON.stringify(await search(member, { query: 'What does the gate keeper earn?' }))).toContain('ninety')
  })

  it('keeps to top_k, sources, metadata and threshold', async () => {
    expect((await search(member, { query: 'gate', top_k: 1 }))['total_results']).toBe(1)
    const bySource = await search(member, { query: 'gate', source_ids: [secret['id']] })
    expect(bySource['results'].map((hit: Json) => hit['source_id'])).toEqual([secret['id']])
    const byMetadata = await search(member, { query: 'gate', filter_metadata: { area: 'b' } })
    expect(byMetadata['results'].map((hit: Json) => hit['source_id'])).toEqual([source['id']])
    const strict = { query: 'quantum physics', retrieval_method: 'vector_search', similarity_threshold: 0.9 }
    expect((await search(member, strict))['results']).toEqual([])
  })

  it.each([
    [{}, 'query is required'],
    [{ query: ' ' }, 'query is required'],
    [{ query: 'x'.repeat(4001) }, 'query may have at most 4000 characters'],
    [{ query: 'x', top_k: 0 }, 'top_k: Too small'],
    [{ query: 'x', top_k: 1e9 }, 'top_k: Too big'],
    [{ query: 'x', vector_weight: -1 }, 'vector_weight: Too small'],
    [{ query: 'x', retrieval_method: 'fuzzy' }, 'retrieval_method must be one of'],
    [{ query: 'x', retrieval_method: 'tree_search' }, 'tree_search needs knowledge bases of the strategy page_index'],
    [{ query: 'x', source_ids: ['x'] }, 'source_ids.0: Invalid UUID'],
    [{ query: 'x', filter_metadata: 'or=' }, 'filter_metadata: Invalid input'],
    [{ query: 'a\u0000' }, 'cannot be stored'],
  ])('refuses wrong requests (%#)', async (json, message) => {
    expect((await search(member, json, 400))['error']).toContain(message)
  })

  it('says the same of a foreign, an absent and an impossible knowledge base', async () => {
    const refusals = await Promise.all(
      [own['id'], ABSENT, 'x'].map((id) => search(stranger, { query: 'gate' }, 400, id)),
    )
    for (const refusal of refusals) {
      expect(without(refusal)).toEqual({ error: 'Knowledge base not found', code: 'invalid_request' })
    }
  })
})

describe('a list', () => {
  it('is read to its end and beyond: a page behind the last row is empty, and says how many there are', async () => {
    const agent = await member.json(201, 'POST', '/api/agents', { json: { name: 'Listed' } })
    const { id: session_id } = agent
    await member.json(201, 'POST', `/api/agents/${agent['id']}/sessions`, { json: { session_id } })
    await member.json(201, 'POST', '/api/context-handlers', {
      json: { query: 'gate', knowledge_bases: [{ id: own['id'] }] },
    })
    const lists: [string, string][] = [
      ['agents', 'agents'],
      ['agents?sort=name&q=Listed', 'agents'],
      ['sources', 'sources'],
      ['sources?q=gates', 'sources'],
      ['knowledge-bases', 'knowledge_bases'],
      ['context-handlers', 'context_handlers'],
      [`agents/${agent['id']}/sessions`, 'sessions'],
      [`knowledge-bases/${own['id']}/sources`, 'items'],
    ]
    for (const [path, name] of lists) {
      const url = `/api/${path}${path.includes('?') ? '&' : '?'}`
      const { total, [name]: rows } = await member.json(200, 'GET', `${url}limit=100`)
      expect(total, path).toBeGreaterThan(0)
      expect(rows, path).toHaveLength(total)
      for (const offset of [total, 5000]) {
        expect(await member.json(200, 'GET', `${url}limit=2&offset=${offset}`), path).toMatchObject({
          [name]: [],
          ...{ total, limit: 2, offset },
        })
      }
    }
    // All of the tenant's sources are in this knowledge base: nothing is behind the last row of nothing.
    const available = `/api/knowledge-bases/${own['id']}/available-sources`
    const { total } = await member.json(200, 'GET', available)
    expect(await member.json(200, 'GET', `${available}?offset=5000`)).toMatchObject({
      sources: [],
      total,
      offset: 5000,
    })
  })

  it('refuses a name to look for that no text can be', async () => {
    for (const path of ['agents', 'sources', 'knowledge-bases']) {
      expect(await member.json(400, 'GET', `/api/${path}?q=%00`)).toMatchObject({ code: 'invalid_request' })
    }
  })
})

it('what is nested too deeply to be stored is refused, and what is not is stored', async () => {
  const nested = (levels: number) =>
    `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)},"b":"${'[{\\"'.repeat(1000)}"}`
  const headers = { 'content-type': 'application/json' }
  const refused = { code: 'invalid_request', error: 'The JSON is nested more than 500 levels deep.' }
  for (const levels of [500, 1100, 5000, 20_000]) {
    const body = `{"name":"Deep","settings":${nested(levels)}}`
    expect(await member.json(400, 'POST', '/api/agents', { body, headers })).toMatchObject(refused)
    const metadata = nested(levels + 1)
    expect(await member.json(400, 'POST', '/sources', { body: fileForm('deep.md', 'x', { metadata }) })).toMatchObject(
      refused,
    )
  }
  const metadata = nested(500)
  const stored = await member.json(201, 'POST', '/sources', { body: fileForm('deep.md', 'Deep.', { metadata }) })
  expect(stored['metadata']).toEqual(JSON.parse(metadata))
})
