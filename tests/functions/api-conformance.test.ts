import { beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { script } from '../support/scripted-model/index.ts'
import { streamRun } from './support/agent-run.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { fileForm, tokenOf, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

/** Answers of the agent API that its clients know by heart and that no other test asks for. */
const userEnv: Record<string, string> = {}
const model = useModel(userEnv)
const stack = useFunctionsStack({ worker: true, userEnv })

let member: FunctionsCaller
let viewer: FunctionsCaller
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
})
const agentOf = async (name: string): Promise<string> =>
  (await member.json(201, 'POST', '/api/agents', { json: { name } }))['id']

describe('agents', () => {
  it('are sorted by their last run, those that never ran last', async () => {
    model.play(script([{ text: 'One.' }, { text: 'Two.' }]))
    const [early, late, never] = [await agentOf('Sorted 1'), await agentOf('Sorted 2'), await agentOf('Sorted 3')]
    await member.json(200, 'POST', `/api/agents/${late}/run`, { json: { message: 'x' } })
    await member.json(200, 'POST', `/api/agents/${early}/run`, { json: { message: 'x' } })
    // A change of an agent is no run of it.
    await member.json(200, 'PATCH', `/api/agents/${late}`, { json: { system_prompt: 'Changed.' } })
    const idsOf = async (query: string) =>
      (await member.json(200, 'GET', `/api/agents?q=Sorted&sort=last_run_at&${query}`))['agents'].map(
        (agent: Json) => agent['id'],
      )
    expect(await idsOf('')).toEqual([early, late, never])
    expect(await idsOf('order=asc')).toEqual([late, early, never])
    expect(await idsOf('limit=1&offset=1')).toEqual([late])
    expect((await member.json(200, 'GET', '/api/agents?q=Sorted&sort=last_run_at&limit=1'))['total']).toBe(3)
  })
})

describe('runs', () => {
  it('of a session are listed with their tool calls', async () => {
    const id = await agentOf('Looks')
    await member.json(201, 'POST', `/api/agents/${id}/tools`, {
      json: { tool_name: 'database_query', config_override: { schemas: { public: ['memories'] } } },
    })
    const query = 'select body from memories limit 1'
    model.play(script([{ toolCalls: [{ name: 'database_query', arguments: { query } }] }, { text: 'Done.' }]))
    const { complete } = await streamRun(member, id, { message: 'Look.' })
    const call = { step: 1, tool_name: 'database_query', arguments: { query }, duration_ms: expect.any(Number) }
    const { runs } = await member.json(200, 'GET', `/api/sessions/${complete['session_id']}/runs`)
    expect(runs).toHaveLength(1)
    expect(runs[0]).toMatchObject({
      agent_id: id,
      model: expect.any(String),
      context_handler_id: null,
      citations: [],
      tool_calls: [call],
    })
    expect(runs[0]).not.toHaveProperty('retrieved_context')
    const alone = await member.json(200, 'GET', `/api/agents/runs/${complete['run_id']}`)
    expect(alone['tool_calls']).toEqual(runs[0].tool_calls)
    // There is nothing to approve about a run that is over.
    const approve = `/api/agents/runs/${complete['run_id']}/approve`
    await member.json(404, 'POST', approve, { json: { approved: true } })
    for (const json of [{}, { approved: 'true' }]) await member.json(400, 'POST', approve, { json })
  })
})

describe('sources', () => {
  it('take the extraction models clients know with a warning, and no others', async () => {
    const upload = (status: number, extraction_model: string) =>
      member.json(status, 'POST', '/api/sources/upload', {
        body: fileForm('model.md', `# ${extraction_model}`, { extraction_model }),
      })
    expect(await upload(201, 'auto')).not.toHaveProperty('warnings')
    const made = await upload(201, 'fitz')
    expect(made['warnings']).toEqual([expect.stringContaining('extraction_model is ignored')])
    expect(await upload(400, 'psychic')).toMatchObject({ code: 'invalid_request' })
    const json = { extraction_model: 'psychic' }
    await member.json(400, 'POST', `/api/sources/${made['id']}/reextract`, { json })
    await member.json(400, 'POST', '/api/sources/import-from-storage', { json: { ...json, bucket: 'a', path: 'b' } })
  })
})

describe('searching a knowledge base', () => {
  it('in which nothing is indexed is a mistake, also where it only seems so to the caller', async () => {
    const base = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Empty' } })
    const path = `/api/knowledge-bases/${base['id']}`
    const search = (by: FunctionsCaller, status: number) =>
      by.json(status, 'POST', `${path}/search`, { json: { query: 'tides' } })
    const { request_id: _, ...empty } = await search(viewer, 400)
    expect(empty).toMatchObject({ error: 'Nothing is indexed in this knowledge base.', code: 'invalid_request' })
    const source = await member.json(201, 'POST', '/api/sources/upload', { body: fileForm('tides.md', 'High tide.') })
    await stack.db.query(`update ai.sources set visibility = 'private' where id = $1`, [source['id']])
    await eventually(async () => {
      expect((await member.json(200, 'GET', `/api/sources/${source['id']}`))['extraction_status']).toBe('extracted')
    }, 20_000)
    await member.json(201, 'POST', `${path}/sources`, { json: { source_id: source['id'] } })
    await eventually(async () => {
      expect((await member.json(200, 'GET', path))['source_counts'].indexed).toBe(1)
    }, 20_000)
    expect((await search(member, 200))['results']).toHaveLength(1)
    const { request_id: __, ...hidden } = await search(viewer, 400)
    expect(hidden).toEqual(empty)
  })
})

describe('rows that clients read through the Data API', () => {
  it.each<[table: string, columns: string]>([
    [
      'sources',
      'id,name,file_type,storage_path,extraction_status,derivatives,metadata,auto_metadata,error_message,error_code,celery_task_id,content_hash,created_at,updated_at',
    ],
    ['knowledge_bases', 'id,name,description,indexing_config,retrieval_config,created_at,updated_at'],
    [
      'indexed_sources',
      'id,knowledge_base_id,source_id,index_status,indexed_at,stats,error_message,indexing_config_snapshot,celery_task_id,created_at,last_dispatched_at,attempts',
    ],
    [
      'chunks',
      'id,indexed_source_id,knowledge_base_id,source_id,text,chunk_index,start_char,end_char,tokens,meta,created_at,score',
    ],
    ['agents', 'id,name,model,system_prompt,settings,created_at,updated_at'],
    ['agent_tools', 'id,agent_id,tool_id,tool_type,tool_name,config_override'],
    ['agent_knowledge_bases', 'id,agent_id,knowledge_base_id,config'],
    ['agent_mcp_servers', 'id,agent_id,name,transport,url,config,enabled'],
    ['hooks', 'id,agent_id,event,matcher,type,config,enabled,position'],
    // Without config, which must not be selectable: the next test.
    ['tools', 'id,name,description,type,input_schema,created_at,updated_at'],
    ['agent_sessions', 'id,session_id,agent_id,user_id,session_data,metadata,created_at,updated_at'],
    [
      'agent_runs',
      'id,session_id,run_id,context_handler_id,status,input_messages,output_messages,content,retrieved_context,error,started_at,completed_at,created_at,steps,events,reasoning_steps,agent_id,model,prompt_tokens,completion_tokens,reasoning_tokens,cached_tokens,total_tokens,tool_call_count,tool_call_error_count,tool_call_duration_ms_total',
    ],
    [
      'tool_call_events',
      'id,agent_run_id,agent_id,model,tool_name,status,duration_ms,arguments,result,arguments_preview,result_preview,error,step,occurred_at',
    ],
    ['message_citations', 'id,run_id,citation_key,item_id,source_id,text_excerpt,meta'],
    [
      'context_handlers',
      'id,query,status,knowledge_base_configs,max_context_tokens,retrieved_context,metadata,errors,formatted_context,created_at,completed_at',
    ],
  ])('%s have their columns', async (table, columns) => {
    const token = await tokenOf(await stack.signIn('member@harbor.example'))
    const response = await fetch(`${stack.url}/rest/v1/${table}?select=${columns},tenant_id&limit=1`, {
      headers: { apikey: stack.keys.publishable, authorization: `Bearer ${token}`, 'accept-profile': 'ai' },
    })
    expect([response.status, await response.json()]).toEqual([200, expect.any(Array)])
  })

  it.each([
    ['tools', 'config'],
    ['tools', 'secret_headers'],
    ['tools', '*'],
    ['agent_mcp_servers', 'secret_headers'],
    ['agent_mcp_servers', '*'],
  ])('%s.%s is selected by nobody', async (table, columns) => {
    const read = async (select: string) => {
      const token = await tokenOf(await stack.signIn('owner@harbor.example'))
      const response = await fetch(`${stack.url}/rest/v1/${table}?select=${select}&limit=1`, {
        headers: { apikey: stack.keys.publishable, authorization: `Bearer ${token}`, 'accept-profile': 'ai' },
      })
      return [response.status, ((await response.json()) as Json)['code']]
    }
    expect(await read(columns)).toEqual([403, '42501'])
    expect(await read('id,header_names')).toEqual([200, undefined])
  })
})
