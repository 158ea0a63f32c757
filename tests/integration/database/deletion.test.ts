// Deleting in a transaction of its own, as it happens in life: rows that were inserted in the same transaction take other
// paths through foreign keys, so that pgTAP, which rolls everything back, cannot show this.
import { beforeAll, describe, expect, it } from 'vitest'
import { usePreparedDatabase } from '../../support/prepared-database.ts'

const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const MERIDIAN_OWNER = 'b0000000-0000-4000-8000-000000000001'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'

describe('what has been committed', () => {
  const world = usePreparedDatabase()
  const count = async (from: string, ...params: unknown[]) => {
    const [row] = await world.db.query<{ count: number }>(`select count(*)::int as count from ${from}`, params)
    return row?.count
  }

  beforeAll(async () => {
    await world.db.query('select tests.make_world()')
    // Answers that cite sources, in messages that name their run and a session that names its agent.
    await world.db.exec(`
      update ai.message_citations
      set source_id = tests.id('source ' || tests.letter(tenant_id) || '_open'), item_id = tests.id('chunk ' || tests.letter(tenant_id) || '_open');
      update public.chat_messages
      set run_id = tests.id('run ' || tests.letter(tenant_id) || '_member')
      where session_id in (tests.id('chat a'), tests.id('chat b'));
      update public.chat_sessions set agent_id = tests.id('agent ' || tests.letter(tenant_id)) where title <> 'a_left';
      update public.memories set agent_id = tests.id('agent a') where user_id = tests.person('viewer');
    `)
  })

  it('a source that is deleted leaves the citations of it, without a source', async () => {
    await world.db.query(`delete from ai.sources where id = tests.id('source a_open')`)
    expect(await count(`ai.message_citations where tenant_id = tests.tenant('a') and source_id is null`)).toBe(3)
    expect(await count(`ai.chunks where source_id = tests.id('source a_open')`)).toBe(0)
  })

  it('an agent that is deleted leaves the conversations with it', async () => {
    await world.db.query(`delete from ai.agents where id = tests.id('agent a')`)
    expect(await count(`ai.agent_sessions where tenant_id = tests.tenant('a') and agent_id is null`)).toBe(3)
    expect(await count(`ai.agent_runs where tenant_id = tests.tenant('a') and agent_id is null`)).toBe(3)
    expect(await count(`public.chat_sessions where id = tests.id('chat a') and agent_id is null`)).toBe(1)
  })

  it('a person who is deleted takes their own along, and nobody else loses anything', async () => {
    const others = await count('ai.agent_runs where user_id is distinct from $1', MEMBER)
    await world.db.query('delete from auth.users where id = $1', [MEMBER])
    expect(await count('ai.agent_runs where user_id is distinct from $1', MEMBER)).toBe(others)
    for (const table of [
      'public.chat_messages',
      'public.chat_sessions',
      'public.memories',
      'ai.agent_runs',
      'ai.message_citations',
    ]) {
      expect(await count(`${table} where user_id = $1`, MEMBER), table).toBe(0)
    }
    expect(await count(`ai.sources where name = 'a_secret' and owner_id is null`)).toBe(1)
  })

  it('a tenant that is deleted by its owner leaves no row behind, and an object removal for each source', async () => {
    const sources = await count('ai.sources where tenant_id = $1', MERIDIAN)
    const claims = { sub: MERIDIAN_OWNER, role: 'authenticated' }
    const deleted = await world.db.asCaller({ role: 'authenticated', claims }, (tx) =>
      tx.query('delete from public.tenants returning id'),
    )
    expect(deleted).toEqual([{ id: MERIDIAN }])
    const tables = await world.db.query<{ relation: string }>(
      `select relation from tests.tables()
       where relation not in ('public.tenants', 'private.object_removals', 'private.shipped_policies', 'private.burnt_tool_call_tokens', 'private.queue_limits', 'private.sweeps', 'private.rate_counters',
         -- The audit log outlives its tenant.
         'ai.audit_events', 'private.audit_heads')`,
    )
    for (const { relation } of tables)
      expect(await count(`${relation} where tenant_id = $1`, MERIDIAN), relation).toBe(0)
    expect(
      await count(
        '(select distinct storage_path from private.object_removals) as paths where storage_path like $1',
        `${MERIDIAN}/%/b\\_%`,
      ),
    ).toBe(sources)
    expect(await count(`public.tenants where id = tests.tenant('a')`)).toBe(1)
  })
})
