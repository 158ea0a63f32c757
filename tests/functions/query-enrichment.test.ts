import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createOfflineAnswerer } from '../../supabase/functions/_shared/providers/offline-answerer.ts'
import { drainBackground } from '../../supabase/functions/_shared/runtime.ts'
import type { Db } from '../../supabase/functions/_shared/context.ts'
import { chatHistory } from '../../supabase/functions/_shared/search/history.ts'
import { conversationText, keywordsFor } from '../../supabase/functions/_shared/search/query-enrichment.ts'
import { createApp } from '../../supabase/functions/search/app.ts'
import { promptOf } from '../support/scripted-model/index.ts'
import type { Player } from '../support/scripted-model/index.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { useStack } from '../support/stack.ts'
import { streamRun } from './support/agent-run.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { HARBOR, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'
import { addDocument } from './support/indexed-documents.ts'
import { picking } from './support/tree.ts'

describe('keywords', () => {
  it.each([
    ['what of berths?', 'berth quay', 'berth quay'],
    ['what of "berth 12" -night?', 'berth quay', 'berth quay "berth 12" -night?'],
    ['a -"long night" b', 'x', 'x -"long night"'],
    ['plain', '"forced phrase" -left --out well-known', 'forced phrase left out well-known'],
    ['plain', '  ', ''],
    ['plain', 'x'.repeat(5000), 'x'.repeat(4000)],
  ])("for %j of %j are %j: demands are the person's own", (query, keywords, expected) => {
    expect(keywordsFor(query, keywords)).toBe(expected)
  })

  it('never take the room of a demand, however many there are', () => {
    const written = keywordsFor('what of "berth  12" -night', 'x'.repeat(5000))
    expect(written).toBe(`${'x'.repeat(3982)} "berth 12" -night`)
    expect(written).toHaveLength(4000)
    expect(keywordsFor('"a"'.repeat(1333), 'x').length).toBeLessThanOrEqual(4000)
    const long = `-${'y'.repeat(3999)}`
    expect(keywordsFor(long, 'x') === long).toBe(true)
  })
})

describe('a conversation', () => {
  it('goes along with its last turns, shortened, without tools', () => {
    const history = [
      { role: 'user' as const, content: 'old' },
      ...Array.from({ length: 3 }, (_, n) => [
        { role: 'user' as const, content: `Question ${n}` },
        { role: 'assistant' as const, content: `Answer ${n}` },
      ]).flat(),
      { role: 'tool' as const, toolCallId: 'c', name: 't', content: 'rows' },
    ]
    const text = conversationText(history)
    expect(text).not.toMatch(/old|rows/)
    expect(text.split('\n\n')).toHaveLength(6)
    expect(text.endsWith('Person: Question 2\n\nAssistant: Answer 2')).toBe(true)
    const long = conversationText(
      Array.from({ length: 6 }, () => ({ role: 'user' as const, content: 'y'.repeat(9000) })),
    )
    expect(long.length).toBeLessThanOrEqual(6000)
    expect(conversationText([])).toBe('')
  })
})

const userEnv: Record<string, string> = { EMBEDDING_MODEL: 'embedder' }
const model = useModel(userEnv)
const stack = useStack({ userEnv })

const MEMBER = 'member@harbor.example'
const REWRITTEN = { enriched_query: 'When does gate B open?', keyword_query: 'gate reefer' }
let api: ApiApp
let member: FunctionsCaller
let base: string
beforeAll(async () => {
  api = startApi(stack)
  member = api.as(await userCaller(stack, MEMBER))
  const query_enrichment = { enabled: true, model: 'rewriter', reasoning_effort: 'low' }
  const json = { name: 'Gates', retrieval_config: { query_enrichment } }
  base = (await member.json(201, 'POST', '/api/knowledge-bases', { json }))['id']
  await stack.db.query(`update ai.knowledge_bases set embedding_model = 'embedder' where id = $1`, [base])
  const parts = [{ text: 'Gate B opens at seven for reefer containers.' }]
  await addDocument(stack, base, { name: 'gates.md', owner: MEMBER, parts })
})

/** Requests to rewrite a query. */
let asked: string[]
const rewriting =
  (answer: unknown, otherwise: Player = () => ({ text: 'At seven [1].' })): Player =>
  (input) => {
    const prompt = promptOf(input)
    if (!prompt.includes('You prepare a question for a search')) return otherwise(input)
    asked.push(prompt)
    return { text: typeof answer === 'string' ? answer : JSON.stringify(answer) }
  }
beforeEach(() => {
  asked = []
  model.play(rewriting(REWRITTEN))
})
const search = (json: object = {}, status = 200, id = base) =>
  member.json(status, 'POST', `/api/knowledge-bases/${id}/search`, { json: { query: 'And that one?', ...json } })
const embedded = () =>
  model.requests.filter(({ path }) => path.endsWith('/embeddings')).map(({ body }) => body['input'])

describe('a query', () => {
  it('is rewritten for vectors and for words, and the answer says to what', async () => {
    const found = await search()
    expect(found).toMatchObject({ query: 'And that one?', ...REWRITTEN, retrieval_method: 'auto' })
    expect(found['results']).toMatchObject([{ text_score: expect.any(Number) }])
    expect(embedded().at(-1)).toEqual(['When does gate B open?'])
    const body = model.chats().at(-1)?.body
    expect(body).toMatchObject({ model: 'rewriter', reasoning_effort: 'low' })
    await drainBackground()
    const rows = await stack.db.query<Json>(`select kind, model from ai.usage_entries order by kind`)
    expect(rows).toEqual([
      { kind: 'embedding', model: 'embedder' },
      { kind: 'search', model: 'rewriter' },
    ])
  })

  it('is rewritten in the function search as well', async () => {
    const body = JSON.stringify({ query: 'And that one?', knowledge_base_ids: [base] })
    const headers = { ...member.headers, 'content-type': 'application/json' }
    const response = await createApp(api.deps).request('/search', { method: 'POST', headers, body })
    expect(await response.json()).toMatchObject({ method: 'hybrid', ...REWRITTEN })
  })

  it.each([
    ['no JSON', 'does not fit the form'],
    [{ enriched_query: 7, keyword_query: 'x' }, 'does not fit the form'],
    [{ enriched_query: 'x' }, 'does not fit the form'],
  ])('that becomes %j is searched for as it is, with a warning', async (answer, reason) => {
    model.play(rewriting(answer))
    const found = await search({ query: 'reefer containers' })
    expect(found['warnings']).toEqual([expect.stringMatching(`The query was not enriched: .*${reason}`)])
    expect(found).not.toHaveProperty('enriched_query')
    expect(found['results']).toHaveLength(1)
  })

  it('that becomes nothing, or too much, is searched for', async () => {
    model.play(rewriting({ enriched_query: ' ', keyword_query: '"-"' }))
    expect(await search({ query: 'reefer' })).toMatchObject({ enriched_query: 'reefer', keyword_query: 'reefer' })
    model.play(rewriting({ enriched_query: 'gate '.repeat(2000), keyword_query: 'reefer '.repeat(2000) }))
    const found = await search()
    expect([found['enriched_query'].length, found['keyword_query'].length]).toEqual([4000, 4000])
    expect(found['results']).toHaveLength(1)
  })

  it('is searched for as it is without a model, or where it is not switched on', async () => {
    const { search: deps } = api.deps
    const { chat } = deps
    deps.chat = createOfflineAnswerer()
    const found = await search({ query: 'reefer' })
    deps.chat = chat
    expect(found['warnings']).toEqual(['The query was not enriched: this project has no language model.'])
    expect(asked).toEqual([])
    const json = { name: 'Off', retrieval_config: { query_enrichment: { model: 'rewriter' } } }
    const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json })
    await search({ query: 'reefer' }, 400, id)
    expect(asked).toEqual([])
    const wrong = { name: 'Off', retrieval_config: { query_enrichment: { enabled: 'yes' } } }
    await member.json(400, 'POST', '/api/knowledge-bases', { json: wrong })
  })

  it('is refused with 402 when the budget is used up', async () => {
    const owner = await stack.signIn('owner@harbor.example')
    const budget = { scope: 'tenant', period: 'total', max_tokens: 1 }
    const { data } = await owner.schema('ai').rpc('set_budget', budget)
    expect(await search({}, 402)).toMatchObject({ code: 'budget_exceeded' })
    await owner.schema('ai').rpc('delete_budget', { budget_id: (data as Json)['id'] })
    expect(asked).toEqual([])
  })

  it('is rewritten before a model picks sections by it', async () => {
    const json = {
      name: 'Tree',
      indexing_config: { strategy: 'page_index' },
      retrieval_config: { query_enrichment: { enabled: true } },
    }
    const { id } = await member.json(201, 'POST', '/api/knowledge-bases', { json })
    const parts = [
      { text: 'Gate A.', path: ['A'] },
      { text: 'Gate B.', path: ['B'] },
    ]
    await addDocument(stack, id, { name: 'tree.md', owner: MEMBER, parts })
    let question = ''
    const pick = picking({ documents: [], sections: ['Gate B.'] })
    model.play(
      rewriting(REWRITTEN, (input) => {
        question = promptOf(input)
        return pick(input)
      }),
    )
    expect(await search({}, 200, id)).toMatchObject({ ...REWRITTEN, results: [{ text: 'Gate B.' }] })
    expect(question).toContain('The question: "When does gate B open?"')
  })
})

describe('the conversation', () => {
  it('of a session is what the query is understood by, as the person may read it', async () => {
    const agent = (await member.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } }))['id'] as string
    const run = (json: object, by = member) =>
      by.json(200, 'POST', `/api/agents/${agent}/run`, { json: { session_id: 'mine', ...json } })
    await run({ message: 'Where is gate B?' })
    expect(asked).toEqual([])
    await run({ message: 'And when?', knowledge_bases: [{ id: base }] })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toContain('Person: Where is gate B?\n\nAssistant: At seven')
    expect(asked[0]).toContain('The question: "And when?"')
    await run({ session_id: 'other', message: 'And when?', knowledge_bases: [{ id: base }] })
    expect(asked[1]).not.toContain('Where is gate B?')
  })

  it('of a chat is its last messages before this one, for the person alone', async () => {
    const [{ id: session } = {}] = await stack.db.query<Json>(
      `insert into public.chat_sessions (tenant_id, user_id, agent_id)
       select agents.tenant_id, users.id, agents.id from ai.agents, auth.users
       where agents.tenant_id = $1 and users.email = $2 limit 1 returning id`,
      [HARBOR, MEMBER],
    )
    const speak = async (role: string, content: string, status = 'complete') => {
      const [row] = await stack.db.query<{ id: string }>(
        `insert into public.chat_messages (tenant_id, user_id, session_id, role, content, status)
         select tenant_id, user_id, id, $2, $3, $4 from public.chat_sessions where id = $1 returning id`,
        [session, role, content, status],
      )
      return row?.id ?? ''
    }
    await speak('user', 'old')
    for (const n of [1, 2]) {
      await speak('user', `Question ${n}`)
      await speak('assistant', `Answer ${n}`)
    }
    await speak('user', 'Failed', 'failed')
    const asking = await speak('user', 'And now?')
    const read = async (email: string) => chatHistory((await stack.signIn(email)) as Db, session, asking)
    expect((await read(MEMBER)).map(({ content }) => content)).toEqual([
      'old',
      'Question 1',
      'Answer 1',
      'Question 2',
      'Answer 2',
    ])
    for (const other of ['owner@harbor.example', 'owner@meridian.example']) expect(await read(other)).toEqual([])
  })

  it('of a run goes along with the searches of its tool', async () => {
    const agent = (await member.json(201, 'POST', '/api/agents', { json: { name: 'Clerk' } }))['id'] as string
    await member.json(201, 'POST', `/api/agents/${agent}/knowledge-bases`, { json: { knowledge_base_id: base } })
    const callsOnce: Player = ({ messages }) =>
      messages.some(({ role }) => role === 'tool')
        ? { text: 'At seven [1].' }
        : { toolCalls: [{ name: 'knowledge_search', arguments: { query: 'opening' } }] }
    model.play(rewriting(REWRITTEN, callsOnce))
    await streamRun(member, agent, { message: 'When does the reefer gate open?' })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toContain('Person: When does the reefer gate open?')
    expect(asked[0]).toContain('The question: "opening"')
  })
})
