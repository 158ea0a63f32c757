import { createHash, randomBytes } from 'node:crypto'
import { createClient } from '@supabase/supabase-js'
import { decode } from 'fast-png'
import { beforeAll, describe, expect, it } from 'vitest'
import { objectStoreFromEnv } from '../../supabase/functions/_shared/object-store.ts'
import { eventually } from '../support/eventually.ts'
import { script } from '../support/scripted-model/index.ts'
import type { Turn } from '../support/scripted-model/index.ts'
import { plainPdf } from '../worker/bombs.ts'
import { eventsOf, streamRun } from './support/agent-run.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { begin, bySteps, carryOn, dyingLedger, expireLease, standingOf } from './support/durable-run.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { HARBOR, fileForm, serviceCaller, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const userEnv: Record<string, string> = {
  PAGE_IMAGES: 'on',
  PAGE_IMAGE_DPI: '72',
  EMBEDDING_MODEL: 'bulkhead-hash-384',
}
const model = useModel(userEnv)
const stack = useFunctionsStack({ worker: true, userEnv })
let api: ApiApp
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
let source: Json

const pdf = () => new Uint8Array(Buffer.concat([plainPdf(2), Buffer.from(`\n% ${randomBytes(8).toString('hex')}\n`)]))

async function rendered(by: FunctionsCaller, name: string): Promise<Json> {
  const { id } = await by.json(201, 'POST', '/api/sources/upload', { body: fileForm(name, pdf()) })
  return eventually(async () => {
    const now = await by.json(200, 'GET', `/api/sources/${id}`)
    expect(now['auto_metadata'].page_images).toMatchObject({ status: 'rendered' })
    return now
  }, 30_000)
}
const image = (index: number | string = 0, of: Json = source) =>
  `/api/sources/${of['id']}/derivatives/image/download?index=${index}`

const setVisibility = (visibility: 'tenant' | 'private') =>
  stack.db.query('update ai.sources set visibility = $2 where id = $1', [source['id'], visibility])

beforeAll(async () => {
  api = startApi(stack)
  member = api.as(await userCaller(stack, 'member@harbor.example'))
  viewer = api.as(await userCaller(stack, 'viewer@harbor.example'))
  stranger = api.as(await userCaller(stack, 'owner@meridian.example'))
  source = await rendered(member, 'pages.pdf')
})

describe('records that are made from images of pages', () => {
  const indexing_config = {
    strategy: 'doc2json',
    json_schema: { fields: [{ name: 'page', type: 'integer' }] },
    use_images: true,
    pages_per_window: 1,
  }
  const asked = (since: number): Json[][] =>
    model
      .chats()
      .slice(since)
      .map(({ body }) => body['messages'])
  const urlsIn = (messages: Json[]): string[] =>
    messages
      .flatMap(({ content }) => (Array.isArray(content) ? content : []))
      .flatMap((part: Json) => part['image_url']?.url ?? [])
  async function indexed(name: string, configured: object = indexing_config): Promise<Json> {
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name, indexing_config: configured } })
    expect(made['warnings']).toBeUndefined()
    const path = `/api/knowledge-bases/${made['id']}/sources`
    // Not drawn yet, as likely as not: indexing waits for that.
    const { id } = await member.json(201, 'POST', '/api/sources/upload', { body: fileForm(`${name}.pdf`, pdf()) })
    await eventually(() => member.json(201, 'POST', path, { json: { source_id: id } }), 30_000)
    return eventually(async () => {
      const [row] = (await member.json(200, 'GET', path))['items']
      expect(row['index_status']).toMatch(/indexed|failed/)
      return row
    }, 60_000)
  }

  it('show the model each page with its text, whenever they are drawn', async () => {
    model.play(() => ({ text: JSON.stringify({ page: 4 }) }))
    const since = model.chats().length
    const row = await indexed('records')
    expect(row).toMatchObject({
      index_status: 'indexed',
      stats: { windows: 2, images_shown: 2, model_questions: 2, chunk_count: 1 },
    })
    expect(row['stats'].notes).toBeUndefined()
    const questions = asked(since)
    expect(questions.map((messages) => urlsIn(messages).length)).toEqual([1, 1])
    const shown = questions.map((messages) => decode(Buffer.from(String(urlsIn(messages)[0]?.split(',')[1]), 'base64')))
    expect(shown.map(({ width, height }) => [width, height])).toEqual([
      [600, 800],
      [600, 800],
    ])
    const told = JSON.stringify(questions).replaceAll(/base64,[\w+/=]+/g, '')
    expect(told).toMatch(/page number 1 of .*"Page 1:".*page number 2 of .*"Page 2:"/)
    // They are counted where nobody counts them better, and nothing stays held back.
    const [held] = await stack.db.query('select count(*)::int as count from private.token_reservations')
    expect(held).toEqual({ count: 0 })
  })

  it('are made from the text alone where the model refuses images, or there are none', async () => {
    model.play(({ messages }) =>
      urlsIn(messages as Json[]).length > 0
        ? { status: 400, error: { message: 'no images' } }
        : { text: JSON.stringify({ page: 5 }) },
    )
    const refused = await indexed('refused', { ...indexing_config, pages_per_window: 2 })
    expect(refused).toMatchObject({
      index_status: 'indexed',
      stats: { windows: 1, notes: [expect.stringContaining('The model refused images')] },
    })
    const made = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Text', indexing_config } })
    const { id } = await member.json(201, 'POST', '/api/sources/upload', {
      body: fileForm('text.md', '# One\n\nPage.\n'),
    })
    const path = `/api/knowledge-bases/${made['id']}/sources`
    await eventually(() => member.json(201, 'POST', path, { json: { source_id: id } }), 30_000)
    await eventually(async () => {
      const [row] = (await member.json(200, 'GET', path))['items']
      expect(row).toMatchObject({
        index_status: 'indexed',
        stats: { notes: ['There are no images of the pages of this document: its text alone was read.'] },
      })
    }, 30_000)
  })
})

describe('images of the pages of a source', () => {
  it('are listed with their size, and downloaded by whoever may read the source', async () => {
    expect(source['derivatives'].image).toEqual(
      [1, 2].map((page) => ({
        storage_path: expect.stringMatching(new RegExp(`/${source['id']}/pages/[0-9a-f-]+/${page}\\.png$`)),
        page,
        format: 'png',
        metadata: { width: 600, height: 800, dpi: 72 },
      })),
    )
    for (const by of [member, viewer]) {
      const answer = await by.send('GET', image(1))
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe('image/png')
      expect(answer.headers.get('content-disposition')).toMatch(/^attachment; filename="pages\.pdf\.page-2\.png"/)
      const bytes = new Uint8Array(await answer.arrayBuffer())
      expect(answer.headers.get('content-length')).toBe(String(bytes.length))
      expect(decode(bytes)).toMatchObject({ width: 600, height: 800 })
    }
  })

  it('are, for another tenant, those of an unknown source', async () => {
    const unknown = await stranger.json(404, 'GET', image(0, { id: '99999999-9999-4999-8999-999999999999' }))
    const foreign = await stranger.json(404, 'GET', image())
    expect({ ...foreign, request_id: '' }).toEqual({ ...unknown, request_id: '' })
  })

  it('follow the rights of the source at once', async () => {
    expect((await viewer.send('GET', image())).status).toBe(200)
    await setVisibility('private')
    await viewer.json(404, 'GET', image())
    expect((await member.send('GET', image())).status).toBe(200)
    await setVisibility('tenant')
    expect((await viewer.send('GET', image())).status).toBe(200)
  })

  it('that are not there are not found', async () => {
    expect(await member.json(404, 'GET', image(2))).toMatchObject({ error: 'Derivative not found' })
    await member.json(400, 'GET', image(-1))
    // Listed, and replaced since.
    const bytes = new Uint8Array(await (await member.send('GET', image())).arrayBuffer())
    const { storage_path } = source['derivatives'].image[0]
    const store = objectStoreFromEnv(stack.stack.env)
    await store.delete(storage_path)
    expect(await member.json(404, 'GET', image())).toMatchObject({ error: 'Derivative not found' })
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    await store.put(storage_path, bytes, { contentType: 'image/png', sha256 })
    expect((await member.send('GET', image())).status).toBe(200)
  })

  it('cannot be reached over the Storage API, by their owner neither', async () => {
    const { storage_path } = source['derivatives'].image[0]
    const owner = await stack.signIn('member@harbor.example')
    const bucket = owner.storage.from('sources')
    expect((await bucket.download(storage_path)).error).not.toBeNull()
    expect((await bucket.createSignedUrl(storage_path, 60)).error).not.toBeNull()
    expect((await bucket.upload(storage_path, new Blob(['x']), { upsert: true })).error).not.toBeNull()
    expect((await bucket.upload(storage_path.replace('1.png', '9.png'), new Blob(['x']))).error).not.toBeNull()
    expect((await bucket.remove([storage_path])).data).toEqual([])
    expect((await bucket.list(storage_path.replace(/\/1\.png$/, ''))).data).toEqual([])
    const anyone = createClient(stack.url, stack.keys.publishable, { auth: { persistSession: false } })
    expect((await anyone.storage.from('sources').download(storage_path)).error).not.toBeNull()
    // It is there all the while.
    expect((await member.send('GET', image())).status).toBe(200)
    // And nobody lists an image by hand.
    const { error } = await owner
      .schema('ai')
      .from('sources')
      .update({ derivatives: { image: [] } })
      .eq('id', source['id'])
    expect(error).toMatchObject({ code: '42501' })
  })
})

describe('page images for a model', () => {
  const QUESTION = 'What is page number 1 of a long document?'
  const NOTE = '(Shown as images of pages 1, 2.)'
  const SENTENCE = 'This is page number 1 of a long document.'
  let base: Json
  let agent: Json

  beforeAll(async () => {
    base = await member.json(201, 'POST', '/api/knowledge-bases', {
      json: { name: 'Pages', retrieval_config: { context_mode: 'image', image_delivery: 'url' } },
    })
    await member.json(201, 'POST', `/api/knowledge-bases/${base['id']}/sources`, { json: { source_id: source['id'] } })
    await eventually(async () => {
      const { items } = await member.json(200, 'GET', `/api/knowledge-bases/${base['id']}/sources`)
      expect(items).toMatchObject([{ index_status: 'indexed' }])
    }, 20_000)
    const backend = api.as(serviceCaller(stack, { 'x-tenant-id': HARBOR }))
    agent = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Reader' } })
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, { json: { tool_name: 'http_request' } })
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/knowledge-bases`, {
      json: { knowledge_base_id: base['id'] },
    })
  })

  const search = (json: object) =>
    member.json(200, 'POST', `/api/knowledge-bases/${base['id']}/search`, { json: { query: QUESTION, ...json } })
  const lookUp: Turn = { toolCalls: [{ name: 'knowledge_search', arguments: { query: QUESTION } }] }
  const run = (body: object, by = member) =>
    by.json(200, 'POST', `/api/agents/${agent['id']}/run`, { json: { message: QUESTION, ...body } })
  /** What the model was asked with last. */
  const lastMessages = (): Json[] => model.chats().at(-1)!.body['messages']
  const imagesIn = (messages: Json[]) =>
    messages
      .flatMap(({ content }) => (Array.isArray(content) ? content : []))
      .flatMap((part: Json) => part['image_url']?.url ?? [])
  const sizeOf = (url: string) => {
    const [head, base64 = ''] = url.split(',')
    expect(head).toBe('data:image/png;base64')
    const { width, height } = decode(Buffer.from(base64, 'base64'))
    return [width, height]
  }

  it('are named by results, where the knowledge base or the request says so', async () => {
    expect(base['warnings']).toEqual([expect.stringMatching('image_delivery')])
    const { results } = await search({})
    expect(results[0].meta.images).toEqual([
      { page: 1, index: 0, width: 600, height: 800, dpi: 72 },
      { page: 2, index: 1, width: 600, height: 800, dpi: 72 },
    ])
    expect(results[0].text).toContain(SENTENCE)
    const asText = await search({ context_mode: 'text' })
    expect(asText['results'][0].meta).not.toHaveProperty('images')
    await member.json(400, 'POST', `/api/knowledge-bases/${base['id']}/search`, {
      json: { query: QUESTION, context_mode: 'video' },
    })
  })

  it('take the place of what knowledge_search found, and are as little trusted', async () => {
    const send: Turn = {
      toolCalls: [{ name: 'http_request', arguments: { url: 'https://example.com/', method: 'GET' } }],
    }
    model.play(script([lookUp, send, { text: 'It is page 1 [1].' }]))
    const streamed = await streamRun(member, agent['id'], { message: QUESTION, citations_enabled: true })
    expect(streamed.complete).toMatchObject({ status: 'completed', content: 'It is page 1 [1].' })
    const asked = model.chats().at(-2)!.body['messages'] as Json[]
    expect(asked.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'user'])
    expect(asked[3]!['content']).toContain(NOTE)
    expect(asked[3]!['content']).toMatch(/^--- Document: "pages\.pdf" ---/)
    expect(JSON.stringify(asked)).not.toContain(SENTENCE)
    expect(asked[4]!['content'][0]).toMatchObject({ type: 'text', text: expect.stringMatching('instruction') })
    expect(imagesIn(asked).map(sizeOf)).toEqual([
      [600, 800],
      [600, 800],
    ])
    // Asked again, the images stand where they stood.
    expect(lastMessages().slice(0, 5)).toEqual(asked)
    // Stored and shown is the text; what an image says may tell the model no more than that.
    const [found, refused] = eventsOf(streamed, 'tool_result')
    expect(found!['result']).toContain(SENTENCE)
    expect(refused!['result']).toMatch(/^Refused: .*approval/)
    expect(streamed.raw).not.toContain('base64')
    expect(streamed.complete['citations']).toMatchObject([{ source_id: source['id'] }])
  })

  it('go with the question, where a run is given knowledge bases or passages', async () => {
    for (const given of [
      { knowledge_bases: [{ id: base['id'] }] },
      { context_items: [{ text: 'Of the first page.', source_id: source['id'], meta: { images: [{ page: 1 }] } }] },
    ]) {
      model.play(script([{ text: 'Page 1.' }]))
      expect(await run(given)).toMatchObject({ status: 'completed', content: 'Page 1.' })
      const asked = lastMessages()
      expect(asked.map(({ role }) => role)).toEqual(['system', 'user', 'user'])
      expect(asked[0]!['content']).toMatch(/\(Shown as (an image of page 1|images of pages 1, 2)\.\)/)
      expect(imagesIn(asked).length).toBeGreaterThan(0)
      expect(asked[2]!['content']).toBe(QUESTION)
    }
  })

  it('reach the answer of a chat, through the functions as they are deployed', async () => {
    model.play(script([{ text: 'Page 1.' }]))
    const deployed = await userCaller(stack, 'member@harbor.example')
    const answer = await deployed.send('POST', '/chat', {
      json: { message: QUESTION, knowledge_base_ids: [base['id']] },
    })
    expect(await answer.text()).toContain('Page 1.')
    expect(imagesIn(lastMessages())).toHaveLength(2)
    expect(lastMessages()[0]!['content']).toContain(NOTE)
  })

  it('are given to nobody who may not read their source', async () => {
    const backend = api.as(serviceCaller(stack, { 'x-tenant-id': '22222222-2222-4222-8222-222222222222' }))
    const foreign = await backend.json(201, 'POST', '/api/agents', { json: { name: 'Foreign' } })
    const item = { text: 'Of the first page.', source_id: source['id'], meta: { images: [{ page: 1 }] } }
    model.play(script([{ text: 'No.' }]))
    await stranger.json(200, 'POST', `/api/agents/${foreign['id']}/run`, {
      json: { message: QUESTION, context_items: [item] },
    })
    expect(imagesIn(lastMessages())).toEqual([])
    expect(lastMessages()[0]!['content']).toContain('Of the first page.')
  })

  describe('of a person who may lose the source', () => {
    const kept = async () =>
      (
        await viewer.json(201, 'POST', '/api/context-handlers', {
          json: { query: QUESTION, knowledge_bases: [{ id: base['id'] }] },
        })
      )['id'] as string

    it('come with a stored retrieval while they may read it, and neither they nor the text after that', async () => {
      const context_handler_id = await kept()
      model.play(script([{ text: 'Page 1.' }, { text: 'Unknown.' }]))
      await run({ context_handler_id }, viewer)
      expect(imagesIn(lastMessages()).map(sizeOf)).toEqual([
        [600, 800],
        [600, 800],
      ])
      expect(lastMessages()[0]!['content']).toContain(NOTE)
      expect(JSON.stringify(lastMessages())).not.toContain(SENTENCE)
      await setVisibility('private')
      expect(await run({ context_handler_id }, viewer)).toMatchObject({ content: 'Unknown.', retrieved_items: 0 })
      await setVisibility('tenant')
      expect(imagesIn(lastMessages())).toEqual([])
      expect(JSON.stringify(lastMessages())).not.toMatch(/page number 1 of a long document\.|pages\.pdf/)
    })

    /** A run of the viewer whose executor dies as it asks the model with what it has; gives what the next one asks with. */
    async function takenUp(turns: Turn[], body: object, meanwhile: () => Promise<unknown>): Promise<Json[]> {
      model.play(bySteps(turns))
      const whole = await streamRun(viewer, agent['id'], { message: QUESTION, ...body })
      const { seq } = eventsOf(whole, 'step_started').at(-1)!
      const dying = dyingLedger(api.deps.ledger, seq as number)
      const doomed = startApi(stack, { ledger: dying.ledger }).as(viewer)
      const stream = await begin(doomed, agent['id'], { message: QUESTION, ...body })
      const { run_id: runId } = (await stream.next())!
      await dying.died
      await expireLease(stack, runId)
      await meanwhile()
      const before = model.chats().length
      expect(await carryOn(api.deps, (await standingOf(stack, runId))['id'])).toBe('ended')
      dying.bury()
      await stream.rest()
      expect(await standingOf(stack, runId)).toMatchObject({ status: 'completed', content: 'Page 1.', attempts: 2 })
      expect(model.chats()).toHaveLength(before + 1)
      return lastMessages()
    }
    const nothing = () => Promise.resolve()

    it('are found anew by another executor, and given as text when they are lost meanwhile', async () => {
      const turns = [lookUp, { text: 'Page 1.' }]
      const again = await takenUp(turns, {}, nothing)
      expect(again.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'user'])
      expect(imagesIn(again).map(sizeOf)).toEqual([
        [600, 800],
        [600, 800],
      ])
      expect(again[3]!['content']).toContain(NOTE)
      // What the model has read, it has read.
      const lost = await takenUp(turns, {}, () => setVisibility('private'))
      await setVisibility('tenant')
      expect(imagesIn(lost)).toEqual([])
      expect(lost.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool'])
      expect(lost[3]!['content']).toContain(SENTENCE)
    })

    it('are found anew with the context, and what is lost meanwhile is not given at all', async () => {
      const body = { context_handler_id: await kept(), knowledge_search: false }
      const again = await takenUp([{ text: 'Page 1.' }], body, nothing)
      expect(imagesIn(again)).toHaveLength(2)
      expect(again[0]!['content']).toContain(NOTE)
      const lost = await takenUp([{ text: 'Page 1.' }], body, () => setVisibility('private'))
      await setVisibility('tenant')
      expect(imagesIn(lost)).toEqual([])
      expect(JSON.stringify(lost)).not.toMatch(/page number 1 of a long document\.|pages\.pdf/)
    })
  })

  it('give way to the text where an endpoint refuses them', async () => {
    model.play(script([lookUp, { status: 400, error: { message: 'no images' } }, { text: 'As text.' }]))
    const streamed = await streamRun(member, agent['id'], { message: QUESTION })
    expect(streamed.complete).toMatchObject({ status: 'completed', content: 'As text.' })
    const [refused, repeated] = model.chats().slice(-2)
    expect(imagesIn(refused!.body['messages'])).toHaveLength(2)
    expect(imagesIn(repeated!.body['messages'])).toEqual([])
    expect(JSON.stringify(repeated!.body['messages'])).toContain(SENTENCE)
  })

  it('give way to the text where they are gone', async () => {
    const store = objectStoreFromEnv(stack.stack.env)
    for (const { storage_path } of source['derivatives'].image) await store.delete(storage_path)
    model.play(script([lookUp, { text: 'As text.' }]))
    const streamed = await streamRun(member, agent['id'], { message: QUESTION })
    expect(streamed.complete).toMatchObject({ status: 'completed', content: 'As text.' })
    expect(imagesIn(lastMessages())).toEqual([])
    expect(JSON.stringify(lastMessages())).toContain(SENTENCE)
  })
})
