import { beforeAll, describe, expect, it } from 'vitest'
import { EgressError } from '../../supabase/functions/_shared/egress/index.ts'
import type { EgressStream } from '../../supabase/functions/_shared/egress/index.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { startApi, withoutIds } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { ABSENT, HARBOR, MERIDIAN, fileForm, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'
import { SITE, linking, robots, sitemap, startSites } from './support/sites.ts'

const stack = useStack({ worker: true })
let api: ApiApp
let admin: FunctionsCaller
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let service: FunctionsCaller
let base: Json
let gates: string
let cranes: string

async function extracted(id: string): Promise<void> {
  await eventually(async () => {
    expect((await member.json(200, 'GET', `/api/sources/${id}`))['extraction_status']).toBe('extracted')
  }, 20_000)
}
async function indexed(path: string, count: number): Promise<Json[]> {
  return eventually(async () => {
    const { items } = await member.json(200, 'GET', `${path}/sources?status=indexed`)
    expect(items).toHaveLength(count)
    return items
  }, 20_000)
}
async function upload(name: string, text: string): Promise<string> {
  const { id } = await member.json(201, 'POST', '/api/sources/upload', { body: fileForm(name, text) })
  await extracted(id)
  return id
}
const basePath = () => `/api/knowledge-bases/${base['id']}`

beforeAll(async () => {
  api = startApi(stack)
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  member = api.as(await userCaller(stack, 'member@harbor.example'))
  viewer = api.as(await userCaller(stack, 'viewer@harbor.example'))
  stranger = api.as(await userCaller(stack, 'owner@meridian.example'))
  service = api.as(serviceCaller(stack))
  base = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Port' } })
  gates = await upload('gates.md', '# Gates\n\nGate B opens at seven for reefer containers.\n')
  cranes = await upload('cranes.md', '# Cranes\n\nCrane 4 lifts forty tonnes at berth nine.\n')
  for (const source_id of [gates, cranes])
    await member.json(201, 'POST', `${basePath()}/sources`, { json: { source_id } })
  await indexed(basePath(), 2)
  // What one person must not see, in the knowledge base that all share.
  await stack.db.query(`update ai.sources set visibility = 'private' where id = $1`, [cranes])
})

describe('context handlers', () => {
  const ask = (by: FunctionsCaller, more: object = {}, status = 201) =>
    by.json(status, 'POST', '/api/context-handlers', {
      json: { query: 'When does gate B open?', knowledge_bases: [{ id: base['id'], top_k: 5 }], ...more },
    })

  it('search as the caller, and keep what was found', async () => {
    const mine = await ask(member)
    expect(mine).toMatchObject({
      id: expect.any(String),
      query: 'When does gate B open?',
      status: 'completed',
      knowledge_base_configs: [{ id: base['id'], top_k: 5 }],
      max_context_tokens: 32000,
      formatted_context: expect.stringContaining('Gate B opens at seven'),
      errors: [],
    })
    expect(mine['retrieved_context'][0]).toMatchObject({
      item_id: expect.any(String),
      citation_key: 1,
      source_id: gates,
      source_name: 'gates.md',
      text: expect.stringContaining('Gate B'),
      score: expect.any(Number),
    })
    expect(JSON.stringify(mine)).toContain('forty tonnes')
    expect(await member.json(200, 'GET', `/api/context-handlers/${mine['id']}`)).toEqual(mine)
    const theirs = await ask(viewer, { knowledge_bases: [{ knowledge_base_id: base['id'] }] })
    expect(JSON.stringify(theirs)).toContain('Gate B')
    expect(JSON.stringify(theirs)).not.toContain('forty tonnes')
  })

  it('of whole documents are read again whole, by who may read them', async () => {
    const indexing_config = { strategy: 'full_document', chunk_size: 50, overlap: 0 }
    const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Laws', indexing_config } })
    const filler = 'Of the weather nothing is said in this law, nor in any other one. '.repeat(8)
    const law = `# Berths\n\nShips berth at noon.\n\n# Weather\n\n${filler}\n\n# Fees\n\nThe daily toll is forty coins.\n`
    const source_id = await upload('law.md', law)
    await member.json(201, 'POST', `/api/knowledge-bases/${id}/sources`, { json: { source_id } })
    await indexed(`/api/knowledge-bases/${id}`, 1)
    const handler = await ask(member, { query: 'When do ships berth?', knowledge_bases: [{ id }] })
    const [found] = handler['retrieved_context']
    expect(found.text).toContain('forty coins')
    expect(found.meta.passage.end_char).toBeLessThan(found.text.length / 2)

    const agent = (await member.json(201, 'POST', '/api/agents', { json: { name: 'Lawyer' } }))['id']
    const message = 'How much is the daily toll?'
    const answer = async (by: FunctionsCaller, json: object) =>
      (await by.json(200, 'POST', `/api/agents/${agent}/run`, { json: { message, ...json } }))['content']
    expect(await answer(member, { context_handler_id: handler['id'] })).toContain('forty coins')
    const item = { item_id: found.item_id, meta: { passage: found.meta.passage } }
    expect(await answer(viewer, { context_items: [item] })).toContain('forty coins')
    // What it was not found by says nothing of how it was given.
    const elsewhere = { ...item, meta: { passage: { start_char: 0, end_char: 1 } } }
    for (const context_items of [[elsewhere], [{ item_id: found.item_id }]]) {
      expect(await answer(member, { context_items })).not.toContain('forty coins')
    }
    await stack.db.query(`update ai.sources set visibility = 'private' where id = $1`, [source_id])
    expect(await answer(viewer, { context_items: [item] })).not.toContain('forty coins')

    // Begun here and carried out by the worker, it has the same to answer from.
    const { run_id } = await member.json(202, 'POST', `/api/agents/${agent}/run`, {
      json: { message, context_handler_id: handler['id'], background: true },
    })
    const run = await eventually(async () => {
      const row = await member.json(200, 'GET', `/api/agents/runs/${run_id}`)
      expect(row['status']).toBe('completed')
      return row
    }, 20_000)
    expect(run['content']).toContain('forty coins')
  })

  it('keep to the allowance', async () => {
    const small = await ask(member, { max_context_tokens: 50, colour: 'red' })
    expect(small['formatted_context'].length).toBeLessThanOrEqual(200)
    expect(small['warnings']).toContain('The field "colour" is not known here and was ignored.')
  })

  it('search each knowledge base as they are asked to', async () => {
    const asked = async (choice: object) => {
      const knowledge_bases = [{ id: base['id'], ...choice }]
      const made = await ask(member, { knowledge_bases })
      expect(made['knowledge_base_configs']).toEqual(knowledge_bases)
      return [made['metadata'].retrieval_methods, made['retrieved_context'].length]
    }
    expect(await asked({ retrieval_method: 'full_text' })).toEqual([['full_text'], 1])
    expect(await asked({ retrieval_method: 'vector_search' })).toEqual([['vector_search'], 2])
    expect(await asked({ retrieval_method: 'vector_search', similarity_threshold: 1 })).toEqual([['vector_search'], 0])
    expect(await asked({ retrieval_method: 'vector_search', filter_metadata: { area: 'none' } })).toEqual([
      ['vector_search'],
      0,
    ])
    // One that is named twice is searched in both ways.
    const twice = [
      { id: base['id'], retrieval_method: 'vector_search', similarity_threshold: 1 },
      { id: base['id'], retrieval_method: 'full_text' },
    ]
    expect((await ask(member, { knowledge_bases: twice }))['retrieved_context']).toMatchObject([{ source_id: gates }])
    const wrong = [{ id: base['id'], retrieval_method: 'tree_search' }]
    expect((await ask(member, { knowledge_bases: wrong }, 400))['error']).toContain('tree_search')
  })

  it('are seen by their own person and the backend only', async () => {
    const { id } = await ask(member)
    for (const other of [admin, viewer, stranger]) {
      expect(withoutIds(await other.json(404, 'GET', `/api/context-handlers/${id}`))).toEqual(
        withoutIds(await other.json(404, 'GET', `/api/context-handlers/${ABSENT}`)),
      )
    }
    const mine = await member.json(200, 'GET', '/api/context-handlers?limit=1')
    expect(mine).toMatchObject({ limit: 1, offset: 0, context_handlers: [{ id }] })
    const { context_handlers } = await viewer.json(200, 'GET', '/api/context-handlers?limit=100')
    expect(context_handlers.map((handler: Json) => handler['id'])).not.toContain(id)
    await service.json(200, 'GET', `/api/context-handlers/${id}`)
    await api.as(service, { 'x-tenant-id': MERIDIAN }).json(404, 'GET', `/api/context-handlers/${id}`)
  })

  it.each([
    [{ query: '' }, 'query is required'],
    [{ knowledge_bases: undefined }, 'knowledge_bases is required'],
    [{ knowledge_bases: [] }, 'knowledge_bases is required'],
    [{ knowledge_bases: [{}] }, 'Each of knowledge_bases needs an id'],
    [{ max_context_tokens: 1 }, 'max_context_tokens: Too small'],
  ])('refuse %j', async (more, message) => {
    expect((await ask(member, more, 400))['error']).toContain(message)
  })

  it('say the same of a foreign and an absent knowledge base', async () => {
    const unknown = await ask(stranger, { knowledge_bases: [{ id: ABSENT }] }, 400)
    expect(unknown).toMatchObject({ error: 'Knowledge base not found', code: 'invalid_request' })
    expect(withoutIds(await ask(stranger, {}, 400))).toEqual(withoutIds(unknown))
  })
})

describe('the content of a knowledge base', () => {
  it('is read by source, as the caller may see it', async () => {
    const json = { source_ids: [gates, cranes], limit: 10 }
    const mine = await member.json(200, 'POST', `${basePath()}/items`, { json })
    expect(mine).toMatchObject({ total: 2, strategy: 'chunk_embed', source_ids: [gates, cranes] })
    expect(mine['items'][0]).toMatchObject({
      id: expect.any(String),
      text: expect.any(String),
      meta: expect.any(Object),
      chunk_index: 0,
      start_char: expect.any(Number),
      end_char: expect.any(Number),
      tokens: expect.any(Number),
    })
    const theirs = await viewer.json(200, 'POST', `${basePath()}/items`, { json })
    expect(theirs['items'].map((item: Json) => item['source_id'])).toEqual([gates])
    await member.json(400, 'POST', `${basePath()}/items`, { json: {} })
    await member.json(400, 'POST', `${basePath()}/items`, { json: { source_ids: ['x'] } })
    await stranger.json(404, 'POST', `${basePath()}/items`, { json })
  })

  it('is read by indexed source', async () => {
    const [entry] = (await member.json(200, 'GET', `${basePath()}/sources?q=cranes`))['items']
    const path = `${basePath()}/indexed-sources/${entry.id}/chunks`
    expect(await member.json(200, 'GET', path)).toMatchObject({ total: 1, chunks: [{ source_id: cranes }] })
    expect(withoutIds(await viewer.json(404, 'GET', path))).toEqual(
      withoutIds(await viewer.json(404, 'GET', `${basePath()}/indexed-sources/${ABSENT}/chunks`)),
    )
  })

  it('can be added to from what is not in it', async () => {
    const spare = await upload('spare.md', '# Spare\n\nSpare parts are in shed two.\n')
    const { sources } = await member.json(200, 'GET', `${basePath()}/available-sources?limit=200`)
    const ids = sources.map((source: Json) => source['id'])
    expect(ids).toContain(spare)
    expect(ids).not.toContain(gates)
    expect(await member.json(200, 'GET', `${basePath()}/available-sources?q=SPARE`)).toMatchObject({ total: 1 })
    await stranger.json(404, 'GET', `${basePath()}/available-sources`)
  })

  it('is indexed anew', async () => {
    const all = await member.json(200, 'POST', `${basePath()}/reindex`)
    expect(all).toMatchObject({ status: 'started', count: 2, scope: 'all', knowledge_base_id: base['id'] })
    expect(all['task_ids']).toEqual([expect.any(String), expect.any(String)])
    const [entry] = await indexed(basePath(), 2)
    const json = { indexed_source_ids: [entry?.['id'], ABSENT] }
    expect(await member.json(200, 'POST', `${basePath()}/reindex`, { json })).toMatchObject({
      status: 'started',
      count: 1,
      scope: 'selected',
      warnings: ['1 of indexed_source_ids name nothing that can be indexed here.'],
    })
    await indexed(basePath(), 2)
    expect(await member.json(200, 'POST', `${basePath()}/reindex`, { json: { failed_only: true } })).toMatchObject({
      status: 'noop',
      count: 0,
      task_id: null,
      scope: 'failed',
    })
    await viewer.json(404, 'POST', `${basePath()}/reindex`)
    await stranger.json(404, 'POST', `${basePath()}/reindex`)
  })

  it('has a text index that is always built: the job that did so last is named', async () => {
    const build = async (by: FunctionsCaller): Promise<unknown> => {
      const answer = await by.json(202, 'POST', `${basePath()}/build-bm25`)
      expect(answer).toEqual({ task_id: answer['task_id'], knowledge_base_id: base['id'] })
      return answer['task_id']
    }
    const entries = await indexed(basePath(), 2)
    const reindex = async (source: string): Promise<unknown> => {
      const id = entries.find((entry) => entry['source_id'] === source)?.['id']
      const json = { indexed_source_ids: [id] }
      const { task_id } = await member.json(200, 'POST', `${basePath()}/reindex`, { json })
      expect(task_id).toEqual(expect.any(String))
      return task_id
    }
    const ofGates = await reindex(gates)
    expect(await build(member)).toBe(ofGates)
    const ofCranes = await reindex(cranes)
    await indexed(basePath(), 2)
    expect(await build(member)).toBe(ofCranes)
    // Who does not see the source is told of no job of it.
    expect(await build(viewer)).toBe(ofGates)
    const buildOf = async (status: number, json: object) => {
      const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json })
      return member.json(status, 'POST', `/api/knowledge-bases/${id}/build-bm25`)
    }
    // Where nothing is indexed, no job has.
    expect((await buildOf(202, { name: 'T', retrieval_config: { method: 'full_text' } }))['task_id']).toBeNull()
    for (const [name, json] of [
      ['vector_search', { retrieval_config: { method: 'vector_search' } }],
      ['tree_search', { indexing_config: { strategy: 'page_index' } }],
    ] as const) {
      const refusal = await buildOf(400, { name, ...json })
      expect(refusal).toMatchObject({ code: 'invalid_request', error: expect.stringContaining(name) })
    }
    await stranger.json(404, 'POST', `${basePath()}/build-bm25`)
  })

  it('has no graph to enrich', async () => {
    expect(await member.json(200, 'GET', `${basePath()}/enrichment`)).toEqual({ config: null })
    await member.json(400, 'POST', `${basePath()}/graph-enrichment/run`)
    await member.json(400, 'GET', `${basePath()}/graph-enrichment/errors`)
    await stranger.json(404, 'GET', `${basePath()}/graph-enrichment/errors`)
  })

  it('has defaults that are those of new knowledge bases', async () => {
    const defaults = await viewer.json(200, 'GET', '/api/config/kb-defaults')
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Plain' } })
    expect({ strategy: 'chunk_embed', ...defaults['strategies'].chunk_embed.indexing_config }).toEqual(
      made['indexing_config'],
    )
    expect(defaults).toMatchObject({ ...{ retrieval: made['retrieval_config'] }, hybrid_vector_weight: 0.5 })
    expect(defaults['reranker']).toEqual({ default_model: null, candidate_count: 20, options: [] })
  })
})

it('a file that storage does not take is refused with a word of it, and can be sent again', async () => {
  const broken = startApi(stack)
  const put = () => Promise.reject(new Error('connect ECONNREFUSED bucket.internal:9000'))
  broken.deps.objects = { ...broken.deps.objects, put }
  const send = (to: FunctionsCaller, status: number) =>
    to.json(status, 'POST', '/api/sources/upload', { body: fileForm('storms.md', '# Storms\n\nStorms come in.\n') })
  const refusal = await send(broken.as(await userCaller(stack, 'member@harbor.example')), 500)
  expect(refusal).toEqual({ error: 'Storage error', code: 'storage_failed', request_id: expect.any(String) })
  expect(broken.logged.join('')).toContain('ECONNREFUSED')
  // Nothing of it has stayed that would make the next one a duplicate.
  const { sources } = await member.json(200, 'GET', '/api/sources?q=storms')
  expect(sources).toEqual([])
  await send(member, 201)
})

describe('the file of a source', () => {
  it('is downloaded as it was uploaded, by whoever may read it', async () => {
    const text = '# Tides\n\nHigh water at six.\n'
    const { id } = await member.json(201, 'POST', '/api/sources/upload', { body: fileForm('tides (1).md', text) })
    const file = await member.send('GET', `/api/sources/${id}/download`)
    expect([file.status, await file.text()]).toEqual([200, text])
    expect(file.headers.get('content-type')).toMatch(/^text\/markdown/)
    expect(file.headers.get('content-disposition')).toMatch(/^attachment;.*tides/)
    expect(file.headers.get('content-length')).toBe(String(text.length))
    expect((await viewer.send('GET', `/api/sources/${id}/download`)).status).toBe(200)
    await stranger.json(404, 'GET', `/api/sources/${id}/download`)
    await member.json(404, 'GET', `/api/sources/${ABSENT}/download`)
  })
})

describe('texts of a source', () => {
  it('are downloaded whole and by page', async () => {
    const path = `/api/sources/${gates}/derivatives`
    const whole = await member.send('GET', `${path}/text/download`)
    expect([whole.status, await whole.text()]).toEqual([200, expect.stringContaining('Gate B opens')])
    expect(whole.headers.get('content-disposition')).toMatch(/^attachment/)
    const page = await member.send('GET', `${path}/page_text/download?index=0`)
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('Gate B opens')])
    for (const missing of [
      'page_text/download?index=9',
      'image/download',
      'markdown/download?index=1',
      'text/download?index=1',
    ]) {
      expect(await member.json(404, 'GET', `${path}/${missing}`)).toMatchObject({ error: 'Derivative not found' })
    }
    for (const wrong of ['video/download', 'page_text/download?index=-1', 'page_text/download?index=']) {
      await member.json(400, 'GET', `${path}/${wrong}`)
    }
    await stranger.json(404, 'GET', `${path}/text/download`)
    await viewer.json(404, 'GET', `/api/sources/${cranes}/derivatives/text/download`)
  })

  it('are downloaded as Markdown, by whoever may read the source', async () => {
    const path = (id: string) => `/api/sources/${id}/derivatives/markdown/download?index=0`
    const whole = await member.send('GET', path(gates))
    expect([whole.status, whole.headers.get('content-type')]).toEqual([200, 'text/markdown; charset=utf-8'])
    expect(whole.headers.get('content-disposition')).toMatch(/^attachment;.*\.md"/)
    const text = await whole.text()
    expect(text).toMatch(/^# .*\n\n/)
    expect(text).toBe(await (await member.send('GET', `/api/sources/${gates}/derivatives/text/download`)).text())
    expect((await member.send('GET', path(cranes))).status).toBe(200)
    await viewer.json(404, 'GET', path(cranes))
    await stranger.json(404, 'GET', path(gates))
  })

  it('from before there was a Markdown rendition have none, until they are extracted anew', async () => {
    const { id } = await member.json(201, 'POST', '/api/sources/upload', {
      body: fileForm('quay.md', '# Quay\n\nLong.\n'),
    })
    await extracted(id)
    await stack.db.query(`update ai.sources set derivatives = derivatives || '{"markdown": []}' where id = $1`, [id])
    const path = `/api/sources/${id}/derivatives/markdown/download`
    expect(await member.json(404, 'GET', path)).toMatchObject({ error: 'Derivative not found' })
    expect((await member.send('GET', `/api/sources/${id}/derivatives/text/download`)).status).toBe(200)
    await member.json(200, 'POST', `/api/sources/${id}/reextract`)
    await extracted(id)
    expect(await (await member.send('GET', path)).text()).toBe('# Quay\n\nLong.')
    await member.json(200, 'DELETE', `/api/sources/${id}`)
    await member.json(404, 'GET', path)
  })
})

describe('importing from storage', () => {
  beforeAll(async () => {
    await stack.db.exec(`
      insert into storage.buckets (id, name, public) values ('inbox', 'inbox', false);
      create policy "own files" on storage.objects for all to authenticated
      using (bucket_id = 'inbox' and owner_id = (select auth.uid())::text)
      with check (bucket_id = 'inbox' and owner_id = (select auth.uid())::text);
    `)
    const client = await stack.signIn('member@harbor.example')
    const bytes = new TextEncoder().encode('# Tides\n\nHigh tide is at noon.\n')
    const { error } = await client.storage
      .from('inbox')
      .upload('2026/tides.md', bytes, { contentType: 'text/markdown' })
    expect(error).toBeNull()
  })
  const json = { bucket: 'inbox', path: '2026/tides.md', name: 'Tides', extraction_model: 'auto' }

  it('makes a source of a file the caller may read', async () => {
    const made = await member.json(201, 'POST', '/api/sources/import-from-storage', { json })
    expect(made).toEqual({
      id: expect.any(String),
      name: 'Tides',
      file_type: '.md',
      storage_path: expect.any(String),
      extraction_status: expect.any(String),
      task_id: expect.any(String),
    })
    await extracted(made['id'])
    const again = await member.json(409, 'POST', '/api/sources/import-from-storage', { json })
    expect(again).toMatchObject({ error: 'duplicate_source', duplicate: { id: made['id'] } })
  })

  it('says the same of a file of somebody else and of none', async () => {
    const foreign = await admin.json(404, 'POST', '/api/sources/import-from-storage', { json })
    for (const path of ['2026/none.md', '../2026/tides.md', '2026//tides.md']) {
      const absent = await admin.json(404, 'POST', '/api/sources/import-from-storage', { json: { ...json, path } })
      expect(withoutIds(absent)).toEqual(withoutIds(foreign))
    }
    await member.json(400, 'POST', '/api/sources/import-from-storage', { json: { bucket: 'inbox' } })
  })

  it('takes a path for nothing but the name of a file in the bucket', async () => {
    const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Reached by its address' } })
    const rest = `rest/v1/knowledge_bases?select=name&id=eq.${id}`
    for (const [bucket, path] of [
      ['inbox', '%2e%2e/inbox/2026/tides.md'],
      ['inbox', '2026/tides.md?a'],
      ['inbox', '2026/tides.md#a.md'],
      ['inbox', '2026/%74ides.md'],
      ['inbox', '..\\inbox\\2026\\tides.md'],
      ['inbox/2026', 'tides.md'],
      ['.', 'inbox/2026/tides.md'],
      ['..', 'object/inbox/2026/tides.md'],
      ['../../..', `${rest}&x=.txt`],
      ['%2e%2e', `%2e%2e/%2e%2e/${rest}&x=.txt`],
    ]) {
      const none = await member.json(404, 'POST', '/api/sources/import-from-storage', { json: { bucket, path } })
      expect(none, path).toMatchObject({ code: 'not_found' })
    }
  })

  it('finds files whose names mean something else in an address', async () => {
    const upload = await fetch(`${stack.url}/storage/v1/object/inbox/when%3F%20(tides)%20%26%20where.md`, {
      method: 'POST',
      headers: { ...member.headers, 'content-type': 'text/markdown' },
      body: '# Slack water\n\nAt one.\n',
    })
    expect(upload.status).toBe(200)
    const path = 'when? (tides) & where.md'
    const made = await member.json(201, 'POST', '/api/sources/import-from-storage', { json: { bucket: 'inbox', path } })
    expect(made['name']).toBe(path)
    const source = await member.json(200, 'GET', `/api/sources/${made['id']}`)
    expect(source['auto_metadata']).toMatchObject({ origin_path: `inbox/${path}` })
  })
})

describe('importing from the web', () => {
  const page = (url: string, text: string, contentType = 'text/html; charset=utf-8', status = 200): EgressStream => ({
    status,
    headers: new Headers({ 'content-type': contentType }),
    url,
    body: (async function* () {
      yield new TextEncoder().encode(text)
    })(),
    close: () => {},
  })
  const load = (by: FunctionsCaller, status: number, json: object) =>
    by.json(status, 'POST', '/api/sources/import-url', { json })

  it('makes sources of pages, and names those that failed', async () => {
    api.egress = {
      fetch: () => Promise.reject(new Error('Pages are read as streams.')),
      stream: (url) => {
        if (url.includes('10.0.0.1')) {
          return Promise.reject(new EgressError('blocked_address', 'This address may not be reached.'))
        }
        if (url.endsWith('.zip')) return Promise.resolve(page(url, 'x', 'application/zip'))
        if (url.endsWith('/gone')) return Promise.resolve(page(url, 'x', 'text/html', 404))
        return Promise.resolve(page(url, `<h1>Berths</h1><p>From ${url}</p>`))
      },
    }
    const urls = [
      'https://port.example/berths/nine',
      'https://port.example/%ff',
      'http://10.0.0.1/',
      'https://port.example/a.zip',
      'https://port.example/gone',
    ]
    const made = await load(member, 201, { mode: 'urls', urls })
    expect(made).toMatchObject({
      count: 2,
      sources: [
        { id: expect.any(String), name: 'port.example-berths-nine.html', url: urls[0] },
        { id: expect.any(String), name: 'port.example-ff.html', url: urls[1] },
      ],
    })
    expect(made['warnings']).toEqual([
      '"http://10.0.0.1/" was not imported: This address may not be reached.',
      '"https://port.example/a.zip" was not imported: What is there is "application/zip", which cannot be read.',
      '"https://port.example/gone" was not imported: The page answered with HTTP 404.',
    ])
    await extracted(made['sources'][0].id)
    expect(await load(member, 400, { mode: 'urls', urls: ['http://10.0.0.1/'] })).toMatchObject({
      error: 'This address may not be reached.',
    })
    expect(await load(member, 409, { mode: 'urls', urls: [urls[0]] })).toMatchObject({ error: 'duplicate_source' })
    await load(viewer, 403, { mode: 'urls', urls: ['https://port.example/other'] })
  })

  it.each([
    ['only its header says so', 'text/html; charset=windows-1251', '<p>\xcf\xf0\xe8\xf7\xe0\xeb</p>', 'Причал'],
    ['header and page differ', 'text/html; charset="GBK"', '<meta charset=big5><p>\xc2\xeb\xcd\xb7</p>', '码头'],
    ['the header is wrong', 'text/html; charset=iso-8859-1', '<p>\xd0\x9f\xd1\x80</p>', 'Пр'],
    ['a text has nothing else', 'text/plain;charset=EUC-KR', '\xba\xce\xb5\xce', '부두'],
  ])('reads a page in the encoding it is in, where %s', async (_, contentType, text, read) => {
    const body = Buffer.from(text, 'latin1')
    const sites = await startSites({ '/page': { type: contentType, body } })
    api.egress = sites.egress
    const { sources } = await load(member, 201, { mode: 'urls', urls: [`${SITE}/page`] })
    await extracted(sources[0].id)
    const { page_texts } = await member.json(200, 'GET', `/api/sources/${sources[0].id}/page-texts`)
    expect(page_texts).toEqual([expect.stringContaining(read)])
  })

  it('goes by the address where the server does not know what it sends', async () => {
    const octets = 'application/octet-stream'
    const sites = await startSites({
      '/README.md': { type: 'text/plain; charset=utf-8', body: '# Pontoons\n\nThey float.' },
      '/depths.CSV': { type: octets, body: 'berth,depth\nnine,14\n' },
      '/plain.html': { type: 'text/plain', body: '<p>It is text.</p>' },
      '/page': { type: octets, body: 'What is it?' },
      '/fake.pdf': { type: octets, body: Buffer.from('\x89PNG\r\n\x1a\n', 'latin1') },
      '/tool.exe': { type: octets, body: 'MZ' },
    })
    api.egress = sites.egress
    const paths = ['/README.md', '/depths.CSV', '/plain.html', '/page', '/fake.pdf', '/tool.exe']
    const made = await load(member, 201, { mode: 'urls', urls: paths.map((path) => SITE + path) })
    expect(made['sources'].map(({ name }: Json) => name)).toEqual([
      'port.example.com-README.md',
      'port.example.com-depths.CSV',
      'port.example.com-plain.html.txt',
    ])
    expect(made['warnings']).toEqual([
      expect.stringMatching(/page" was not imported: What is there is "application\/octet-stream"/),
      expect.stringMatching(/fake\.pdf" was not imported: The file is named \.pdf but is a PNG image/),
      expect.stringMatching(/tool\.exe" was not imported: What is there is "application\/octet-stream"/),
    ])
  })

  it('keeps a page as it is that says itself what it is in', async () => {
    const body = Buffer.from('<meta charset="windows-1251"><p>\xcf\xe8\xf0\xf1</p>', 'latin1')
    const sites = await startSites({ '/page': { type: 'text/html; charset=cp1251', body } })
    api.egress = sites.egress
    const { sources } = await load(member, 201, { mode: 'urls', urls: [`${SITE}/page`] })
    const kept = await member.send('GET', `/api/sources/${sources[0].id}/download`)
    expect(Buffer.from(await kept.arrayBuffer())).toEqual(body)
  })

  it('makes sources of the pages of a site, by its links and by its sitemap', async () => {
    const sites = await startSites({
      '/robots.txt': robots('User-agent: *', 'Disallow: /staff'),
      '/': linking('/pilots', '/staff', '/gone', '/fake.pdf'),
      '/pilots': '<h1>Pilots</h1><p>Pilots board at buoy six.</p>',
      '/staff': 'canary',
      // Says PDF and is none: what a page claims to be is checked as that of an upload is.
      '/fake.pdf': { type: 'application/pdf', body: Buffer.from('\x89PNG\r\n\x1a\n', 'latin1') },
      '/map.xml': sitemap(`${SITE}/tugs`, `${SITE}/pilots`),
      '/tugs': { type: 'text/plain', body: 'Tugs wait at mole two.' },
    })
    api.egress = sites.egress
    const crawled = await load(member, 201, { mode: 'crawl', url: SITE, max_pages: 10 })
    expect(crawled).toMatchObject({
      count: 2,
      sources: [
        { id: expect.any(String), name: 'port.example.com.html', url: SITE },
        { id: expect.any(String), name: 'port.example.com-pilots.html', url: `${SITE}/pilots` },
      ],
    })
    expect(crawled['warnings'].toSorted()).toEqual([
      expect.stringMatching(/fake\.pdf" was not imported: The file is named \.pdf but is a PNG image/),
      expect.stringMatching(/gone" was not imported: The page answered with HTTP 404/),
      expect.stringMatching(/staff" was not imported: The robots\.txt of the site/),
    ])
    const stored = await member.json(200, 'GET', `/api/sources/${crawled['sources'][1].id}`)
    expect(stored).toMatchObject({ metadata: {}, auto_metadata: { source_type: 'url', origin_url: `${SITE}/pilots` } })
    await stranger.json(404, 'GET', `/api/sources/${stored['id']}`)
    await extracted(stored['id'])
    // Neither what extraction found out nor what the user writes takes it away.
    await member.json(200, 'PATCH', `/api/sources/${stored['id']}`, { json: { metadata: { area: 'b' } } })
    expect(await member.json(200, 'GET', `/api/sources/${stored['id']}`)).toMatchObject({
      metadata: { area: 'b' },
      auto_metadata: { origin_url: `${SITE}/pilots`, page_count: 1 },
      derivatives: {
        markdown: [{ storage_path: null, format: 'md' }],
        image: [],
        text: [{ storage_path: null, format: 'txt' }],
        page_text: [{ storage_path: null, page: 1, format: 'txt' }],
      },
    })
    const mapped = await load(api.as(service, { 'x-tenant-id': HARBOR }), 201, {
      mode: 'sitemap',
      url: `${SITE}/map.xml`,
    })
    expect(mapped).toMatchObject({ count: 1, sources: [{ name: 'port.example.com-tugs.txt', url: `${SITE}/tugs` }] })
    // Everything it finds is there already.
    expect(await load(member, 409, { mode: 'crawl', url: `${SITE}/pilots` })).toMatchObject({
      error: 'duplicate_source',
      duplicate: { id: stored['id'] },
    })
  })

  it('asks a site for no more than it must to learn that the caller may not import', async () => {
    const sites = await startSites({ '/': linking('/a', '/b'), '/a': 'a', '/b': 'b' })
    api.egress = sites.egress
    await load(viewer, 403, { mode: 'crawl', url: SITE })
    expect(sites.asked()).toEqual(['/robots.txt', '/'])
  })

  it('says what is not there', async () => {
    api.egress = null
    expect(await load(member, 503, { mode: 'urls', urls: ['https://port.example/x'] })).toMatchObject({
      code: 'unavailable',
    })
    for (const mode of ['crawl', 'sitemap']) {
      expect(await load(member, 503, { mode, url: 'https://port.example' })).toMatchObject({
        code: 'unavailable',
        error: 'This deployment fetches nothing from the web.',
        hint: expect.stringContaining('/api/sources/upload'),
      })
    }
    await load(member, 400, { mode: 'sitemap' })
    await load(member, 400, { mode: 'urls' })
    await load(member, 400, { mode: 'all' })
    await load(member, 400, { mode: 'crawl', url: 'https://port.example', max_pages: 51 })
  })
})
