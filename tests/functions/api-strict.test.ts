// `Prefer: handling=strict`: what would be named in `warnings` as ignored is refused, before anything is done.
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { useStack } from '../support/stack.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { ABSENT, fileForm, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json, Sent } from './support/http.ts'

const STRICT = { prefer: 'handling=strict' }
const stack = useStack()
let api: ApiApp
let admin: FunctionsCaller
const ids = { agent: '', tool: '', server: '', assignment: '', base: '', empty: '', source: '' }
beforeAll(async () => {
  api = startApi(stack)
  api.mcp = () => ({ tools: [], warnings: [] })
  admin = api.as(await userCaller(stack, 'admin@harbor.example'))
  const make = async (path: string, json: object): Promise<string> =>
    (await admin.json(201, 'POST', `/api/${path}`, { json }))['id']
  ids.agent = await make('agents', { name: 'Clerk' })
  ids.tool = await make('tools', tool)
  ids.server = await make(`agents/${ids.agent}/mcp-servers`, { name: 'first', url: 'https://mcp.example/mcp' })
  ids.assignment = await make(`agents/${ids.agent}/tools`, { tool_name: 'database_query' })
  ids.base = await make('knowledge-bases', { name: 'Gates' })
  ids.empty = await make('knowledge-bases', { name: 'Cranes' })
  const body = fileForm('first.md', '# First\n')
  ids.source = (await admin.json(201, 'POST', '/api/sources/upload', { body }))['id']
})
beforeEach(() => {
  api.asked.length = 0
})

const tool = {
  name: 'look_up',
  description: 'Looks something up.',
  type: 'http',
  input_schema: { type: 'object', properties: {} },
  config: { endpoint: 'https://crm.example/look-up' },
}
const TABLES = [
  'agents',
  'agent_tools',
  'agent_knowledge_bases',
  'agent_mcp_servers',
  'agent_runs',
  'agent_sessions',
  'context_handlers',
  'enrichments',
  'hooks',
  'knowledge_bases',
  'sources',
  'tools',
]
/** Every row of what these requests could create or change, as a hash for each table. */
const everything = async () => {
  const hash = (table: string) =>
    `select '${table}' as name, count(*)::int as rows, md5(string_agg(t::text, '|' order by t::text)) as hash from ai.${table} t`
  return stack.db.query<Json>(TABLES.map(hash).join(' union all '))
}

/** A request, what of it is ignored as the refusal says it, and the status without strictness (null: not asked). */
type Case = [method: string, path: string, sent: () => Sent, ignored: string[], status: number | null]
const at = (path: string) => path.replace(/\{(\w+)\}/g, (_all, name: keyof typeof ids) => ids[name])
const json = (make: () => object) => () => ({ json: make() })

/** Refused in strict mode, with all of it named and nothing done; else done, with as many warnings. */
async function checks([method, path, sent, ignored, status]: Case): Promise<void> {
  const before = await everything()
  const refusal = await admin.json(400, method, at(path), { ...sent(), headers: STRICT })
  expect(refusal).toEqual({ error: ignored.join(' '), code: 'invalid_request', request_id: expect.any(String) })
  expect(await everything()).toEqual(before)
  expect(api.asked).toEqual([])
  if (status === null) return
  const { warnings } = await admin.json(status, method, at(path), sent())
  expect(warnings).toHaveLength(ignored.length)
  expect(await everything()).not.toEqual(before)
}

describe('settings that have no effect are refused', () => {
  const topP = 'The setting "top_p" has no effect.'
  const imported = 'extraction_model is ignored: there is one extraction per file type.'
  const body = (more: Record<string, string>) => () => ({ body: fileForm('x.md', `# ${Object.keys(more)[0]}\n`, more) })
  const cases: Case[] = [
    [
      'POST',
      '/api/agents',
      json(() => ({ name: 'A', temperature: 1, settings: { top_p: 1, max_steps: 'many' } })),
      [
        'The field "temperature" is not known here.',
        topP,
        'The setting "max_steps" has no effect: its value cannot be used.',
      ],
      201,
    ],
    ['PATCH', '/api/agents/{agent}', json(() => ({ settings: { top_p: 1 } })), [topP], 200],
    [
      'POST',
      '/api/agents/{agent}/tools',
      json(() => ({ tool_name: 'web_search', config_override: { depth: 1 } })),
      ['"depth" is not an argument that can be forced on web_search and has no effect.'],
      201,
    ],
    [
      'PATCH',
      '/api/agents/{agent}/tools/{assignment}',
      json(() => ({ config_override: { schemas: { public: ['orders'] }, depth: 1 } })),
      ['"depth" has no effect on database_query; it reads schemas only.'],
      200,
    ],
    [
      'POST',
      '/api/agents/{agent}/hooks',
      json(() => ({ event: 'OnDelegation', type: 'http', config: { url: 'https://x.example/h', secret: 's' } })),
      [
        'OnDelegation never happens here: agents do not call each other.',
        'The key "secret" of config is not known here.',
      ],
      201,
    ],
    [
      'POST',
      '/api/agents/{agent}/hooks',
      json(() => ({ event: 'PreToolUse', type: 'rule', config: { rules: [{ condition: 'x CONTAINS y', why: 'z' }] } })),
      ['The field "config.rules[0].why" is not known here.'],
      201,
    ],
    [
      'POST',
      '/api/agents/{agent}/sessions',
      json(() => ({
        initial_messages: [
          { role: 'user', content: 'When?', name: 'Ann' },
          { role: 'assistant', content: 'At seven.' },
        ],
      })),
      ['The field "initial_messages[0].name" is not known here.'],
      null,
    ],
    [
      'POST',
      '/api/agents/{agent}/knowledge-bases',
      json(() => ({ knowledge_base_id: ids.base, config: { depth: 1, top_k: 'many' } })),
      ['config.depth has no effect.', 'config.top_k has no effect.'],
      201,
    ],
    [
      'POST',
      '/api/agents/{agent}/mcp-servers',
      json(() => ({ name: 'second', url: 'https://mcp.example/mcp', transport: 'sse', config: { timeout: 3 } })),
      [
        'The setting "config.timeout" has no effect.',
        'transport "sse" has no effect: the server is spoken to by Streamable HTTP.',
      ],
      201,
    ],
    [
      'PUT',
      '/api/agents/{agent}/mcp-servers/{server}',
      json(() => ({ transport: 'sse' })),
      ['transport "sse" has no effect: the server is spoken to by Streamable HTTP.'],
      200,
    ],
    [
      'POST',
      '/api/tools',
      json(() => ({ ...tool, method: 'GET', config: { ...tool.config, method: 'POST', api_key: 'x' } })),
      ['config.method is used, and the one beside config ignored.', 'The key "api_key" of config is not known here.'],
      201,
    ],
    [
      'PUT',
      '/api/tools/{tool}',
      json(() => ({ description: 'Other.', config: { ...tool.config, api_key: 'x' } })),
      ['The key "api_key" of config is not known here.'],
      200,
    ],
    [
      'POST',
      '/api/sources/upload',
      body({ colour: 'red', extraction_model: 'mistral' }),
      ['The field "colour" is not known here.', imported],
      201,
    ],
    ['POST', '/api/sources/{source}/reextract', json(() => ({ extraction_model: 'mistral' })), [imported], null],
    [
      'POST',
      '/api/sources/import-from-storage',
      json(() => ({ bucket: 'b', path: 'p', extraction_model: 'mistral' })),
      [imported],
      null,
    ],
    [
      'POST',
      '/api/sources/import-url',
      json(() => ({ mode: 'urls', urls: ['https://x.example'], url: 'https://y.example', max_pages: 2 })),
      ['url has no effect with mode urls.', 'max_pages has no effect with mode urls.'],
      null,
    ],
    [
      'POST',
      '/api/sources/import-url',
      json(() => ({ mode: 'crawl', url: 'https://y.example', urls: ['https://x.example'] })),
      ['urls has no effect with mode crawl.'],
      null,
    ],
    [
      'PUT',
      '/api/knowledge-bases/{base}/enrichment',
      json(() => ({ use_multimodal: true, fields: [{ name: 'berth', description: 'd', type: 'text', depth: 1 }] })),
      ['The field "fields[0].depth" is not known here.'],
      null,
    ],
  ]
  it.each(cases)('%s %s', async (...one) => checks(one))
})

describe('keys of lists that are not known are refused', () => {
  const run = '/api/agents/{agent}/run'
  const cases: Case[] = [
    [
      'POST',
      run,
      json(() => ({ message: 'x', knowledge_bases: [{ id: ids.empty }, { id: ids.empty, depth: 1, topK: 2 }] })),
      [
        'The field "knowledge_bases[1].depth" is not known here.',
        'The field "knowledge_bases[1].topK" is not known here.',
      ],
      200,
    ],
    [
      'POST',
      run,
      json(() => ({ message: 'x', colour: 'red', context_items: [{ text: 'Seven.', title: 'Gates' }, { text: ' ' }] })),
      [
        'The field "colour" is not known here.',
        'The field "context_items[0].title" is not known here.',
        'context_items[1] is skipped: it has neither text nor item_id.',
      ],
      200,
    ],
    [
      'POST',
      run,
      json(() => ({ message: 'x', response_format: { type: 'text', strict: true, json_schema: {} } })),
      [
        'The field "response_format.strict" is not known here.',
        'response_format.json_schema has no effect with type text.',
      ],
      200,
    ],
    [
      'POST',
      run,
      json(() => ({ message: 'x', context_override: 'Seven.', citations_enabled: true })),
      ['citations_enabled has no effect with context_override.'],
      200,
    ],
    [
      'POST',
      '/api/context-handlers',
      json(() => ({ query: 'gate', knowledge_bases: [{ id: ids.empty, depth: 1 }] })),
      ['The field "knowledge_bases[0].depth" is not known here.'],
      201,
    ],
  ]
  it.each(cases)('%s %s', async (...one) => checks(one))

  it('as they are in runtime_knowledge_bases, also without strictness', async () => {
    const path = `/api/agents/${ids.agent}/run/stream`
    const refusal = await admin.json(400, 'POST', path, {
      json: { message: 'x', runtime_knowledge_bases: [{ id: ABSENT, depth: 1 }] },
    })
    expect(refusal['error']).toContain('"depth"')
  })

  it('and named in part when there are many', async () => {
    const entry = Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`${index}`.padEnd(500, 'k'), 1]))
    const sent = { json: { query: 'gate', knowledge_bases: [{ id: ids.empty, ...entry }] } }
    const { warnings } = await admin.json(201, 'POST', '/api/context-handlers', sent)
    expect(warnings).toHaveLength(20)
    expect(Math.max(...warnings.map((text: string) => text.length))).toBeLessThan(200)
  })
})

describe('settings of a knowledge base that have no effect are refused', () => {
  const setting = (name: string) => `The setting "${name}" has no effect.`
  const cases: [sent: object, ignored: string[]][] = [
    [{ embedding_model: 'x' }, ['embedding_model has no effect: it is the model of the vectors that are stored.']],
    [{ retrieval_config: { topk: 3, ts_language: 'german' } }, [setting('retrieval_config.topk')]],
    [
      { retrieval_config: { reranker: { model: null, top_n: 3 }, query_enrichment: { on: true } } },
      [setting('retrieval_config.reranker.top_n'), setting('retrieval_config.query_enrichment.on')],
    ],
    [
      { retrieval_config: { image_delivery: 'url' } },
      ['retrieval_config.image_delivery has no effect: a model gets images inside its request.'],
    ],
    [
      { indexing_config: { chunksize: 300, chunk_overlap: 20, window_size: 900 } },
      [
        setting('indexing_config.chunksize'),
        'The setting "indexing_config.chunk_overlap" has no effect: the key is overlap.',
        'The setting "indexing_config.window_size" has no effect with chunk_embed.',
      ],
    ],
    [
      { indexing_config: { strategy: 'chunk_embed', summary_model: 'gpt-5-mini' } },
      ['The setting "indexing_config.summary_model" has no effect with chunk_embed.'],
    ],
    [
      { indexing_config: { strategy: 'page_index', extra: { model: 'x', depth: 1, summary_model: 'x' } } },
      [setting('indexing_config.extra.depth'), setting('indexing_config.extra.summary_model')],
    ],
    [
      {
        indexing_config: {
          strategy: 'doc2json',
          json_schema: { title: 'Berths', fields: [{ name: 'berth', required: true }] },
          chunk_size: 300,
          use_images: true,
        },
      },
      [
        'The setting "indexing_config.chunk_size" has no effect with doc2json.',
        'The field "indexing_config.json_schema.title" is not known here.',
        'The field "indexing_config.json_schema.fields[0].required" is not known here.',
      ],
    ],
  ]
  it.each(cases)('%j', async (sent, ignored) => {
    const before = await everything()
    for (const [method, path] of [
      ['POST', '/api/knowledge-bases'],
      ['PATCH', `/api/knowledge-bases/${ids.base}`],
    ] as const) {
      const refusal = await admin.json(400, method, path, { json: { name: 'Strict', ...sent }, headers: STRICT })
      expect(refusal).toMatchObject({ code: 'invalid_request', error: ignored.join(' ') })
    }
    expect(await everything()).toEqual(before)
    const made = await admin.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Lenient', ...sent } })
    // Of a strategy that needs a model, there is one more after these.
    expect(made['warnings'].slice(0, ignored.length)).toEqual(
      ignored.map((text) => expect.stringContaining(text.replace(/ (has no effect|is not known here).*/, ''))),
    )
  })

  it.each(['chunk_embed', 'full_document', 'page_index', 'graph_index', 'doc2json'])(
    'but not as a knowledge base of %s shows them',
    async (strategy) => {
      const form = strategy === 'doc2json' ? { json_schema: { fields: [{ name: 'berth' }] } } : {}
      const config = { name: 'Shown', indexing_config: { strategy, ...form } }
      const made = await admin.json(201, 'POST', '/api/knowledge-bases', { json: config, headers: STRICT })
      const { indexing_config, retrieval_config } = made
      const path = `/api/knowledge-bases/${made['id']}`
      await admin.json(200, 'PATCH', path, { json: { indexing_config, retrieval_config }, headers: STRICT })
    },
  )
})

describe('what comes of a request is not refused', () => {
  it.each([
    ['/api/agents/{agent}/tools', { tool_name: 'database_write' }, 'database_write can use no table'],
    ['/api/knowledge-bases', { name: 'T', indexing_config: { strategy: 'page_index' } }, 'has no language model'],
  ])('%s', async (path, sent, warning) => {
    const made = await admin.json(201, 'POST', at(path), { json: sent, headers: STRICT })
    expect(made['warnings']).toEqual([expect.stringContaining(warning)])
  })
})
