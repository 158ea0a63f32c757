import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { depsFromEnv } from '../../../supabase/functions/_shared/deps.ts'
import { providersFromEnv } from '../../../supabase/functions/_shared/providers/index.ts'
import { searchProviders } from '../../../supabase/functions/_shared/search.ts'
import { createKnowledgeSearch } from '../../../supabase/functions/_shared/tools/knowledge-search.ts'
import { runDefaults } from '../../../supabase/functions/_shared/execution/settings.ts'
import type { LinkedKnowledgeBase } from '../../../supabase/functions/_shared/tools/knowledge-search.ts'
import { script } from '../../support/scripted-model/index.ts'
import { eventsOf, streamRun } from '../support/agent-run.ts'
import type { StreamedRun } from '../support/agent-run.ts'
import { withoutIds } from '../support/api-app.ts'
import { useModel } from '../../support/scripted-model/use-model.ts'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { ABSENT, HARBOR, uploadAndIndex, userCaller } from '../support/http.ts'
import type { FunctionsCaller, Json } from '../support/http.ts'
import { contextOf } from './person.ts'

const userEnv: Record<string, string> = { EMBEDDING_MODEL: 'bulkhead-hash-384' }
const model = useModel(userEnv)
const stack = useFunctionsStack({ worker: true, userEnv })

const canary = (what: string) => `canary-${what}-${randomUUID().slice(0, 8)}`
const CRANES = canary('cranes')
const BERTHS = canary('berths')
const TIDES = canary('tides')
const SALARY = canary('salary')
const BOARD = canary('board')
const WARD = canary('ward')

let admin: FunctionsCaller
let member: FunctionsCaller
let both: FunctionsCaller
let stranger: FunctionsCaller
let port = ''
let yard = ''
let extra = ''
let hidden = ''
let foreign = ''
let agentId = ''
let sources: Record<'cranes' | 'tides', Json>

const make = async (by: FunctionsCaller, name: string): Promise<string> =>
  (await by.json(201, 'POST', '/api/knowledge-bases', { json: { name, description: `All of ${name}` } }))['id']

beforeAll(async () => {
  admin = await userCaller(stack, 'admin@harbor.example', { 'x-tenant-id': HARBOR })
  member = await userCaller(stack, 'member@harbor.example')
  both = await userCaller(stack, 'both@bulkhead.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  // What a project of its own might do: knowledge bases that their maker alone can see.
  await stack.db.query(
    `create policy "hidden ones" on ai.knowledge_bases as restrictive for select to authenticated
     using (name not like 'Hidden%' or created_by = (select auth.uid()))`,
  )
  port = await make(admin, 'Port')
  yard = await make(admin, 'Yard')
  extra = await make(admin, 'Extra')
  hidden = await make(admin, 'Hidden board')
  foreign = await make(stranger, 'Wards')
  const within = { knowledge_base_id: port, visibility: 'tenant' }
  const [cranes] = [
    await uploadAndIndex(admin, 'cranes.md', `# Cranes\n\nCrane seven lifts forty tonnes ${CRANES}.\n`, {
      ...within,
      knowledge_base_ids: yard,
    }),
    await uploadAndIndex(admin, 'berths.md', `# Berths\n\nThe crane of berth nine is slow ${BERTHS}.\n`, {
      ...within,
      knowledge_base_id: yard,
    }),
    await uploadAndIndex(admin, 'salary.md', `# Salary\n\nThe crane driver earns ninety ${SALARY}.\n`, {
      ...within,
      visibility: 'private',
    }),
    await uploadAndIndex(admin, 'board.md', `# Board\n\nThe board sells every crane ${BOARD}.\n`, {
      ...within,
      knowledge_base_id: hidden,
    }),
    await uploadAndIndex(stranger, 'ward.md', `# Ward\n\nThe crane on ward three is broken ${WARD}.\n`, {
      knowledge_base_id: foreign,
    }),
  ]
  const tides = await uploadAndIndex(admin, 'tides.md', `# Tides\n\nA crane stops at spring tide ${TIDES}.\n`, {
    ...within,
    knowledge_base_id: extra,
  })
  sources = { cranes: cranes!, tides }
  agentId = (await admin.json(201, 'POST', '/api/agents', { json: { name: 'Librarian' } }))['id']
  for (const knowledge_base_id of [port, yard, hidden]) {
    await admin.json(201, 'POST', `/api/agents/${agentId}/knowledge-bases`, { json: { knowledge_base_id } })
  }
})

const ASK = { query: 'what does a crane do' }
/** A run in which the model makes these searches, one step each, then says that. */
async function runSearch(
  by: FunctionsCaller,
  searches: object[] = [ASK],
  body: object = {},
  said = 'That is all.',
): Promise<StreamedRun & { definition: Json | undefined; results: string[] }> {
  const first = model.chats().length
  const calls = searches.map((args) => ({ name: 'knowledge_search', arguments: { ...args } }))
  model.play(script([...calls.map((call) => ({ toolCalls: [call] })), { text: said }]))
  const run = await streamRun(by, agentId, { message: 'Tell me about cranes.', ...body })
  expect(run.complete).toMatchObject({ status: 'completed', error: null })
  const tools: Json[] = model.chats()[first]!.body['tools'] ?? []
  return {
    ...run,
    definition: tools.find((tool) => tool['function'].name === 'knowledge_search')?.['function'],
    results: eventsOf(run, 'tool_result').map((event) => event['result']),
  }
}
const timesIn = (text: string, part: string) => text.split(part).length - 1

describe('what is searched', () => {
  it('is what is linked and the person can see; the rest is not named', async () => {
    const run = await runSearch(member)
    expect(run.definition?.['parameters'].properties.knowledge_base_names.items.enum).toEqual(['Port', 'Yard'])
    expect(run.definition?.['description']).toContain('- Port: All of Port\n- Yard: All of Yard')
    expect(run.results[0]).toContain(CRANES)
    expect(run.results[0]).toContain(BERTHS)
    for (const secret of [SALARY, BOARD, WARD, TIDES]) expect(run.raw).not.toContain(secret)
    expect(`${run.raw}${JSON.stringify(run.definition)}`).not.toContain('Hidden')
    // Nor does asking by name help: the schema knows the two.
    const asked = await runSearch(member, [{ ...ASK, knowledge_base_names: ['Hidden board'] }])
    expect(eventsOf(asked, 'tool_result')).toMatchObject([{ is_error: true }])
    expect(asked.raw).not.toContain(BOARD)
  })

  it('stands there once: what a whole document above holds already is a note', async () => {
    const whole = await admin.json(201, 'POST', '/api/knowledge-bases', {
      json: { name: 'Whole ropes', indexing_config: { strategy: 'full_document' } },
    })
    const parts = await make(admin, 'Ropes')
    const text = `# Ropes\n\n${canary('ropes')} holds.\n\n# Knots\n\n${'A bowline is a knot. '.repeat(200)}`
    await uploadAndIndex(admin, 'ropes.md', text, {
      knowledge_base_id: whole['id'],
      visibility: 'tenant',
      knowledge_base_ids: parts,
    })
    const { id } = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Rigger' } })
    for (const knowledge_base_id of [whole['id'], parts]) {
      await admin.json(201, 'POST', `/api/agents/${id}/knowledge-bases`, { json: { knowledge_base_id } })
    }
    const calls = [{ name: 'knowledge_search', arguments: { query: 'bowline knot ropes' } }]
    model.play(script([{ toolCalls: calls }, { text: 'Yes.' }]))
    const run = await streamRun(admin, id, { message: 'Ropes?' })
    const result = String(eventsOf(run, 'tool_result')[0]?.['result'])
    expect(timesIn(result, '# Ropes')).toBe(1)
    expect(timesIn(result, '(Content already shown above.)')).toBeGreaterThan(0)
  })

  it('is more for who can see more', async () => {
    const run = await runSearch(admin)
    const { enum: names } = run.definition?.['parameters'].properties.knowledge_base_names.items
    expect(names.toSorted()).toEqual(['Hidden board', 'Port', 'Yard'])
    for (const text of [CRANES, BERTHS, SALARY, BOARD]) expect(run.results[0]).toContain(text)
    for (const secret of [TIDES, WARD]) expect(run.raw).not.toContain(secret)
  })

  it('can be narrowed by name', async () => {
    const run = await runSearch(member, [
      { ...ASK, knowledge_base_names: ['Port'] },
      { ...ASK, knowledge_base_names: ['Yard', 'Port'] },
    ])
    expect(run.results[0]).toContain(CRANES)
    expect(run.results[0]).not.toContain(BERTHS)
    expect(run.results[1]).toContain(BERTHS)
  })

  it('gives a passage once, however many knowledge bases it is in', async () => {
    const [{ count } = { count: 0 }] = await stack.db.query<{ count: number }>(
      'select count(*)::int as count from ai.chunks where source_id = $1',
      [sources.cranes['id']],
    )
    expect(count).toBe(2)
    const run = await runSearch(member)
    expect(timesIn(run.results[0]!, CRANES)).toBe(1)
    expect(timesIn(run.results[0]!, BERTHS)).toBe(1)
    expect(run.complete['retrieved_items']).toBe(2)
  })

  it('says so when nothing is found', async () => {
    const [{ id }] = [await admin.json(201, 'POST', '/api/agents', { json: { name: 'Empty' } })]
    const empty = await admin.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Nothing yet' } })
    const json = { knowledge_base_id: empty['id'] }
    await admin.json(201, 'POST', `/api/agents/${id}/knowledge-bases`, { json })
    model.play(script([{ toolCalls: [{ name: 'knowledge_search', arguments: ASK }] }, { text: 'No.' }]))
    const run = await streamRun(member, id, { message: 'x' })
    expect(eventsOf(run, 'tool_result')).toMatchObject([{ result: 'Nothing was found.', is_error: false }])
  })
})

describe('the link', () => {
  it('says how its knowledge base is searched, and what of it has no effect is said', async () => {
    const searching = async (config: object) => {
      const { id } = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Linked' } })
      const json = { knowledge_base_id: yard, config }
      const link = await admin.json(201, 'POST', `/api/agents/${id}/knowledge-bases`, { json })
      const ask = { name: 'knowledge_search', arguments: { query: 'zebra quilts' } }
      model.play(script([{ toolCalls: [ask] }, { text: 'So.' }]))
      const [result] = eventsOf(await streamRun(member, id, { message: 'x' }), 'tool_result')
      return [result!['result'] === 'Nothing was found.', link['warnings']]
    }
    // No passage has these words; some passage is the nearest to any.
    expect(await searching({ retrieval_method: 'full_text', top_k: 3 })).toEqual([true, undefined])
    expect(await searching({ retrieval_method: 'vector_search' })).toEqual([false, undefined])
    expect(await searching({ retrieval_method: 'psychic', depth: 2 })).toEqual([
      false,
      ['config.retrieval_method is stored but has no effect.', 'config.depth is stored but has no effect.'],
    ])
  })
})

describe('citations', () => {
  it('count on after the items of the request, through all searches of the run', async () => {
    const body = { citations_enabled: true, context_items: [{ text: 'Given: gate B opens at seven.' }] }
    const narrow = (name: string) => ({ ...ASK, knowledge_base_names: [name] })
    const said = 'As given [1]. Forty tonnes [2]. All of it [2, 3]. Invented [99].'
    const run = await runSearch(member, [narrow('Port'), narrow('Yard')], body, said)
    expect(run.results[0]).toMatch(new RegExp(`^\\[2\\] .*\\n# Cranes\\n\\n.*${CRANES}`, 'm'))
    const keys = run.results.flatMap((text) => [...text.matchAll(/^\[(\d+)\]/gm)].map(([, key]) => Number(key)))
    expect(keys.toSorted()).toEqual([2, 3, 4])
    expect(run.complete['content']).toBe('As given [1]. Forty tonnes [2]. All of it [2][3]. Invented.')
    expect(run.complete['invalid_citation_count']).toBe(1)
    const [given, found, third] = run.complete['citations'] as Json[]
    expect(run.complete['citations']).toHaveLength(3)
    expect(given).toMatchObject({ citation_key: 1, item_id: null, source_id: null })
    expect(found).toMatchObject({ citation_key: 2, source_id: sources.cranes['id'] })
    expect(found!['text_excerpt']).toContain(CRANES)
    expect(found!['meta']).toMatchObject({ source_name: 'cranes.md', chunk_id: found!['item_id'] })
    expect(third).toMatchObject({ citation_key: 3 })
    // They are stored with the run, and lead to passages that this person may read.
    const stored = await member.json(200, 'GET', `/api/agents/runs/${run.complete['run_id']}`)
    expect(stored['citations'].map((one: Json) => [one['citation_key'], one['item_id']])).toEqual(
      [given, found, third].map((one) => [one!['citation_key'], one!['item_id']]),
    )
  })

  it('are neither numbered nor given where nobody asked for them', async () => {
    const run = await runSearch(member)
    expect(run.results[0]).not.toMatch(/^\[\d+\]/m)
    expect(run.complete).not.toHaveProperty('citations')
  })
})

describe('the stored retrieval', () => {
  it('is told by an event and read by its owner only', async () => {
    const run = await runSearch(member)
    const [created, ...others] = eventsOf(run, 'context_handler_created')
    expect(others).toEqual([])
    expect(created).toMatchObject({ tool_name: 'knowledge_search', query: ASK.query })
    expect(run.order.indexOf('context_handler_created')).toBeLessThan(run.order.indexOf('tool_result'))
    const id = created!['context_handler_id'] as string
    const stored = await member.json(200, 'GET', `/api/context-handlers/${id}`)
    expect(stored).toMatchObject({ id, query: ASK.query, status: 'completed', formatted_context: run.results[0] })
    expect(stored['knowledge_base_configs'].map((one: Json) => one['id'])).toEqual([port, yard])
    expect(stored['retrieved_context']).toHaveLength(2)
    const absent = withoutIds(await member.json(404, 'GET', `/api/context-handlers/${ABSENT}`))
    for (const other of [admin, stranger, both]) {
      expect(withoutIds(await other.json(404, 'GET', `/api/context-handlers/${id}`))).toEqual(absent)
    }
    // Used again by its owner, and by nobody else.
    const again = await runSearch(member, [ASK], { context_handler_id: id, citations_enabled: true }, 'Yes [1].')
    expect(again.complete).toMatchObject({ context_handler_id: id, citations: [{ citation_key: 1 }] })
    const sent = { json: { message: 'x', context_handler_id: id } }
    expect(withoutIds(await admin.json(404, 'POST', `/api/agents/${agentId}/run/stream`, sent))).toEqual(absent)
  })
})

describe('runtime_knowledge_bases', () => {
  const widened = (more: object = {}) => ({ runtime_knowledge_bases: [{ id: extra, ...more }] })

  it('widen the search of one run, and of that alone', async () => {
    const run = await runSearch(member, [ASK], widened())
    expect(run.definition?.['parameters'].properties.knowledge_base_names.items.enum.toSorted()).toEqual([
      'Extra',
      'Port',
      'Yard',
    ])
    expect(run.results[0]).toContain(TIDES)
    expect(run.results[0]).toContain(CRANES)
    const next = await runSearch(member, [ASK], { session_id: run.complete['session_id'] })
    expect(next.results[0]).not.toContain(TIDES)
    expect(JSON.stringify(next.definition)).not.toContain('Extra')
    const links = await admin.json(200, 'GET', `/api/agents/${agentId}/knowledge-bases`)
    expect(links['knowledge_bases']).toHaveLength(3)
  })

  it('are searched as the request says, also those that are linked', async () => {
    const nowhere = await runSearch(member, [ASK], widened({ source_ids: [sources.cranes['id']] }))
    expect(nowhere.results[0]).not.toContain(TIDES)
    const one = await runSearch(member, [ASK], widened({ source_ids: [sources.tides['id']], top_k: 1 }))
    expect(one.results[0]).toContain(TIDES)
    const linked = { runtime_knowledge_bases: [{ id: yard, source_ids: [sources.cranes['id']] }] }
    const narrowed = await runSearch(member, [ASK], linked)
    expect(narrowed.results[0]).not.toContain(BERTHS)
    expect(narrowed.results[0]).toContain(CRANES)
  })

  it('do not open what the person cannot see: absent, hidden and foreign ones are refused alike, before the run', async () => {
    const count = async () => (await stack.db.query('select 1 from ai.agent_runs')).length
    const [runs, chats] = [await count(), model.chats().length]
    const ask = async (by: FunctionsCaller, id: string, headers: Record<string, string> = {}) =>
      withoutIds(
        await by.json(400, 'POST', `/api/agents/${agentId}/run/stream`, {
          json: { message: 'x', runtime_knowledge_bases: [{ id: port }, { id }] },
          headers,
        }),
      )
    const absent = await ask(member, ABSENT)
    expect(absent).toEqual({
      code: 'invalid_request',
      error: 'runtime_knowledge_bases: Knowledge base not found',
    })
    expect(await ask(member, hidden)).toEqual(absent)
    expect(await ask(member, foreign)).toEqual(absent)
    // Of both tenants: the run is in the agent's, and what is in the other stays there.
    expect(await ask(both, foreign)).toEqual(absent)
    expect([await count(), model.chats().length]).toEqual([runs, chats])
    expect((await runSearch(both, [ASK], widened())).results[0]).toContain(TIDES)
  })

  it.each([{ limit: 5 }, { top_k: 0 }, { top_k: 101 }, { retrieval_method: 'psychic' }, { id: 'x' }])(
    'with %j are refused',
    async (wrong) => {
      const json = { message: 'x', ...widened(wrong) }
      const answer = await member.json(400, 'POST', `/api/agents/${agentId}/run/stream`, { json })
      expect(answer).toMatchObject({ code: 'invalid_request' })
    },
  )
})

describe('one call', () => {
  const base = (id: string, name: string, more: Partial<LinkedKnowledgeBase> = {}): LinkedKnowledgeBase => ({
    id,
    name,
    description: null,
    indexing_config: {},
    retrieval_config: {},
    ...more,
  })
  let defaults = runDefaults({})
  const toolOf = (...knowledgeBases: LinkedKnowledgeBase[]) => {
    let key = 0
    const { ledger } = depsFromEnv(stack.stack.env, 'api')
    const search = searchProviders(providersFromEnv({}), { ledger, log: { info() {}, error() {} } })
    return createKnowledgeSearch({ knowledgeBases, defaults, search, citations: true, nextKey: () => ++key })
  }
  const call = async (...bases: LinkedKnowledgeBase[]) => {
    const context = await contextOf(stack, 'member@harbor.example', HARBOR)
    return { ...(await toolOf(...bases).execute(ASK, context)), logged: context.logged.join('\n') }
  }
  /** One whose search the database refuses. */
  const broken = (name: string) => base(port, name, { sourceIds: ['no-uuid-but-a-canary'] })

  it('survives a knowledge base that cannot be searched, with a note', async () => {
    const { text, isError, contextItems, logged } = await call(broken('Broken'), base(yard, 'Yard'))
    expect(text).toContain(CRANES)
    expect(text).toMatch(/\n\n\(Broken could not be searched: [^\n]+\)$/)
    expect([isError, contextItems?.length]).toEqual([undefined, 2])
    expect(`${text}${logged}`).not.toMatch(/no-uuid-but-a-canary|select|ai\./)
  })

  it('is an error when none can be searched', async () => {
    const answer = await call(broken('One'), broken('Two'))
    expect(answer).toMatchObject({ isError: true })
    expect(answer.text).toMatch(/^Error: One could not be searched: .* Two could not be searched: /)
    expect(answer).not.toHaveProperty('contextHandler')
  })

  it('gives the passages that fit the allowance, the first in any case', async () => {
    const whole = await call(base(yard, 'Yard'))
    expect(whole.contextItems).toHaveLength(2)
    const first = whole.contextItems![0]!.text
    const fits = await call(base(yard, 'Yard', { maxContextTokens: Math.ceil(first.length / 4) }))
    expect(fits.contextItems!.map(({ text }) => text)).toEqual([first])
    const cut = await call(base(yard, 'Yard', { maxContextTokens: 2 }))
    expect(cut.contextItems!.map(({ text }) => text)).toEqual([first.slice(0, 8)])
    expect(cut.text).not.toContain(first.slice(0, 9))
  })

  it.each<[number, Partial<LinkedKnowledgeBase>]>([
    [1, { topK: 1, retrieval_config: { top_k: 2 } }],
    [2, { retrieval_config: { top_k: 2 } }],
    [10, {}],
  ])('asks for %i passages: the link decides before the knowledge base: %j', async (count, more) => {
    const context = await contextOf(stack, 'member@harbor.example', HARBOR)
    const db = await context.principal.db()
    const asked: unknown[] = []
    const schema = (name: string) => {
      const client = db.schema(name)
      const rpc = client.rpc.bind(client)
      const noting: typeof rpc = (fn, args, options) => {
        if (fn === 'search') asked.push((args as Json)['match_count'])
        return rpc(fn, args, options)
      }
      return Object.assign(client, { rpc: noting })
    }
    const principal = { ...context.principal, db: () => Promise.resolve({ schema } as unknown as typeof db) }
    const answer = await toolOf(base(yard, 'Yard', more)).execute(ASK, { ...context, principal })
    expect(answer.contextItems).toHaveLength(Math.min(count, 2))
    expect(asked).toEqual([count])
  })

  it('gives what the deployment says where nobody else does', async () => {
    defaults = { ...defaults, searchTopK: 1 }
    expect((await call(base(yard, 'Yard'))).contextItems).toHaveLength(1)
    expect((await call(base(yard, 'Yard', { retrieval_config: { top_k: 2 } }))).contextItems).toHaveLength(2)
    defaults = { ...runDefaults({}), searchMaxContextTokens: 2 }
    const { contextItems } = await call(base(yard, 'Yard'))
    expect(contextItems!.map(({ text }) => text.length)).toEqual([8])
    expect((await call(base(yard, 'Yard', { maxContextTokens: 4000 }))).contextItems).toHaveLength(2)
    defaults = runDefaults({})
  })

  it('finds nothing in the knowledge base of another tenant', async () => {
    const { text, contextItems } = await call(base(foreign, 'Wards'))
    expect([text, contextItems]).toEqual(['Nothing was found.', []])
    const context = await contextOf(stack, 'member@meridian.example', '22222222-2222-4222-8222-222222222222')
    expect((await toolOf(base(foreign, 'Wards')).execute(ASK, context)).text).toContain(WARD)
  })

  it('answers also where the retrieval cannot be stored', async () => {
    const context = await contextOf(stack, 'member@harbor.example', HARBOR)
    const elsewhere = { ...context, principal: { ...context.principal, tenantId: ABSENT } }
    const answer = await toolOf(base(yard, 'Yard')).execute(ASK, elsewhere)
    expect(answer.text).toContain(CRANES)
    expect(answer).not.toHaveProperty('contextHandler')
    expect(context.logged.join()).toContain('context_handler_not_stored')
    expect(context.logged.join()).not.toContain(CRANES)
  })

  it('ends as what it was aborted with', async () => {
    const context = await contextOf(stack, 'member@harbor.example', HARBOR)
    const signal = AbortSignal.abort(new Error('cancelled'))
    await expect(toolOf(base(yard, 'Yard')).execute(ASK, { ...context, signal })).rejects.toThrow('cancelled')
  })

  it('asks for names only where there are several', () => {
    const properties = (...bases: LinkedKnowledgeBase[]) => toolOf(...bases).inputSchema['properties']
    expect(properties(base(port, 'Port'))).not.toHaveProperty('knowledge_base_names')
    expect(properties(base(port, 'Port'), base(yard, 'Port'))).not.toHaveProperty('knowledge_base_names')
    expect(properties(base(port, 'Port'), base(yard, 'Yard'))).toHaveProperty('knowledge_base_names')
  })
})
