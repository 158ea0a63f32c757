// What a caller may say about how urgent their work is: `normal` or `low`, wherever work is asked for.
import { createHash, randomUUID } from 'node:crypto'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EgressStream } from '../../supabase/functions/_shared/egress/types.ts'
import { useModel } from '../support/scripted-model/use-model.ts'
import { startApi } from './support/api-app.ts'
import type { ApiApp } from './support/api-app.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { HARBOR, fileForm, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json, Sent } from './support/http.ts'

const userEnv: Record<string, string> = {}
useModel(userEnv)
const stack = useFunctionsStack({ userEnv })
const STRICT = { prefer: 'handling=strict' }

let api: ApiApp
let member: FunctionsCaller
let uploader: FunctionsCaller
let agentId: string

beforeAll(async () => {
  api = startApi(stack)
  uploader = await userCaller(stack, 'member@harbor.example', { 'x-tenant-id': HARBOR })
  member = api.as(uploader)
  const [agent] = await stack.db.query<{ id: string }>('select id from ai.agents where is_default and tenant_id = $1', [
    HARBOR,
  ])
  agentId = agent?.id ?? ''
  await stack.db.exec(`
    insert into storage.buckets (id, name, public) values ('inbox', 'inbox', false);
    create policy "own files" on storage.objects for all to authenticated
    using (bucket_id = 'inbox' and owner_id = (select auth.uid())::text)
    with check (bucket_id = 'inbox' and owner_id = (select auth.uid())::text);
  `)
})
beforeEach(() => stack.db.exec('delete from ai.agent_runs'))

const form = (fields: Record<string, string>): Sent => ({ body: fileForm('note.md', `# ${randomUUID()}`, fields) })
const announcement = (priority: string): Sent => ({
  json: {
    name: 'note.md',
    size_bytes: 9,
    sha256: createHash('sha256').update(randomUUID()).digest('hex'),
    priority,
  },
})
const run = (priority: string): Sent => ({ json: { message: 'SAY x', background: true, priority } })

type Case = [path: string, by: () => FunctionsCaller, request: (priority: string) => Sent]
const CASES: Case[] = [
  ['/sources', () => uploader, (priority) => form({ priority })],
  ['/sources/uploads', () => uploader, announcement],
  ['/api/sources/upload', () => member, (priority) => form({ priority })],
  [
    '/api/sources/import-from-storage',
    () => member,
    (priority) => ({ json: { bucket: 'inbox', path: 'a.md', priority } }),
  ],
  [
    '/api/sources/import-url',
    () => member,
    (priority) => ({ json: { mode: 'urls', urls: ['https://port.example/a'], priority } }),
  ],
  ['/api/agents/{agent}/run', () => member, run],
]
const count = async () =>
  (await stack.db.query<Json>('select count(*)::int from ai.sources union all select count(*)::int from ai.agent_runs'))
    .map(({ count }) => count)
    .join()

describe('a priority', () => {
  it.each(CASES)('%s: is low or normal', async (path, by, request) => {
    const before = await count()
    for (const priority of ['high', 'urgent', '10', 'LOW']) {
      const refused = await by().json(400, 'POST', path.replace('{agent}', agentId), request(priority))
      expect(refused['code']).toBe('invalid_request')
      expect(refused['error'] ?? refused['message']).toContain('priority')
    }
    expect(await count()).toBe(before)
  })

  const priorityOf = async (table: string, column: string, id: string) =>
    (await stack.db.query<Json>(`select priority from ai.${table} where ${column} = $1`, [id]))[0]?.['priority']

  it('of an upload is stored with its source, and read by the queue', async () => {
    const normal = await uploader.json(201, 'POST', '/sources', form({}))
    expect(normal['priority']).toBe('normal')
    const low = await uploader.json(201, 'POST', '/sources', form({ priority: 'low' }))
    expect(low['priority']).toBe('low')
    expect(await uploader.json(200, 'GET', `/sources/${low['id']}`)).toMatchObject({ priority: 'low' })
    const tiers = await stack.db.query<Json>(
      `select data ->> 'id' as id, group_tier from pgboss.job where name = 'extract_source' and data ->> 'id' in ($1, $2)`,
      [normal['id'], low['id']],
    )
    expect(Object.fromEntries(tiers.map(({ id, group_tier }) => [id, group_tier]))).toEqual({
      [normal['id']]: null,
      [low['id']]: 'low',
    })
    const announced = await uploader.json(201, 'POST', '/sources/uploads', announcement('low'))
    expect(announced['source']['priority']).toBe('low')
  })

  it('is a field of the agent API, also for those who want nothing ignored', async () => {
    const sent = { ...form({ priority: 'low' }), headers: STRICT }
    const uploaded = await member.json(201, 'POST', '/api/sources/upload', sent)
    expect(await priorityOf('sources', 'id', uploaded['id'])).toBe('low')
    expect(await member.json(200, 'GET', `/api/sources/${uploaded['id']}`)).toMatchObject({ priority: 'low' })

    const started = await member.json(202, 'POST', `/api/agents/${agentId}/run`, { ...run('low'), headers: STRICT })
    expect(await priorityOf('agent_runs', 'run_id', started['run_id'])).toBe('low')
    const plain = await member.json(202, 'POST', `/api/agents/${agentId}/run`, run('normal'))
    expect(await priorityOf('agent_runs', 'run_id', plain['run_id'])).toBe('normal')
  })

  it('of an import is that of all its pages', async () => {
    api.egress = {
      fetch: () => Promise.reject(new Error('Pages are read as streams.')),
      stream: (url): Promise<EgressStream> =>
        Promise.resolve({
          status: 200,
          headers: new Headers({ 'content-type': 'text/html; charset=utf-8' }),
          url,
          body: (async function* () {
            yield new TextEncoder().encode(`<h1>Berths</h1><p>From ${url}</p>`)
          })(),
          close: () => {},
        }),
    }
    const urls = ['https://port.example/berths/one', 'https://port.example/berths/two']
    const imported = await member.json(201, 'POST', '/api/sources/import-url', {
      json: { mode: 'urls', urls, priority: 'low' },
      headers: STRICT,
    })
    expect(imported['sources']).toHaveLength(2)
    for (const { id } of imported['sources']) expect(await priorityOf('sources', 'id', id)).toBe('low')

    const client = await stack.signIn('member@harbor.example')
    const bytes = new TextEncoder().encode('# Tides')
    const stored = await client.storage.from('inbox').upload('tides.md', bytes, { contentType: 'text/markdown' })
    expect(stored.error).toBeNull()
    const json = { bucket: 'inbox', path: 'tides.md', priority: 'low' }
    const { id } = await member.json(201, 'POST', '/api/sources/import-from-storage', { json, headers: STRICT })
    expect(await priorityOf('sources', 'id', id)).toBe('low')
  })

  it('of what is there already is nobody’s to change', async () => {
    const { id } = await uploader.json(201, 'POST', '/sources', form({ priority: 'low' }))
    const client = await stack.signIn('member@harbor.example')
    const ai = client.schema('ai')
    expect((await ai.from('sources').update({ priority: 'normal' }).eq('id', id)).error?.code).toBe('42501')
    // What they may change, they may change still.
    expect((await ai.from('sources').update({ name: 'other.md' }).eq('id', id)).error).toBeNull()
    const { data, error } = await ai.from('sources').select('name,priority').eq('id', id).single()
    expect(error).toBeNull()
    expect(data).toEqual({ name: 'other.md', priority: 'low' })
  })

  it('of a schedule is its creator’s to say', async () => {
    const ai = (await stack.signIn('member@harbor.example')).schema('ai')
    const row = { tenant_id: HARBOR, agent_id: agentId, name: 'nightly', cron: '0 3 * * *', message: 'SAY x' }
    expect((await ai.from('schedules').insert({ ...row, priority: 'high' })).error?.code).toBe('23514')
    const { data, error } = await ai
      .from('schedules')
      .insert({ ...row, priority: 'low' })
      .select('id,priority')
      .single()
    expect(error).toBeNull()
    expect(data).toMatchObject({ priority: 'low' })
    const { id } = data as { id: string }
    expect((await ai.from('schedules').update({ priority: 'normal' }).eq('id', id)).error).toBeNull()
    const admin = (await stack.signIn('admin@harbor.example')).schema('ai')
    expect((await admin.from('schedules').update({ priority: 'low' }).eq('id', id)).error?.code).toBe('PT403')
  })
})
