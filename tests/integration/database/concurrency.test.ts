// What only several sessions of a real server can show: two at once, and who wins.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Sql } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, meet, person, SERVICE } from '../../support/two-sessions.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const OWNER = 'a0000000-0000-4000-8000-000000000001'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const VIEWER = 'a0000000-0000-4000-8000-000000000004'
const OUTSIDER = 'c0000000-0000-4000-8000-000000000002'

describe.skipIf(noNativeServer())('two sessions at once', () => {
  const world = usePreparedDatabase(NATIVE_URL)
  let source = ''
  let indexed = ''
  let count = 0

  beforeEach(async () => {
    // A source of `member` for everybody in the tenant, one page, not yet extracted, and its place in the knowledge base.
    count += 1
    const [row] = await world.db.query<{ source: string; indexed: string }>(
      `with made as (select tests.make_source($1, 'a', 'member') as id)
       select made.id as source, tests.id('indexed ' || $1) as indexed from made`,
      [`race_${count}`],
    )
    source = row?.source ?? ''
    indexed = row?.indexed ?? ''
  })
  const reset = (columns: string, relation: string, id: string) =>
    world.db.query(`update ${relation} set ${columns} where id = $1`, [id])

  it('who is demoted cannot take the role back by waiting for the demotion', async () => {
    const set = (role: string, userId: string) => async (tx: Sql) =>
      (
        await tx.query(`update public.memberships set role = $1 where tenant_id = $2 and user_id = $3 returning role`, [
          role,
          HARBOR,
          userId,
        ])
      ).length
    const REFUSED = { code: 'PT403', detail: expect.stringContaining('forbidden') }
    const roleOf = (userId: string) =>
      world.db.query(`select role from public.memberships where tenant_id = $1 and user_id = $2`, [HARBOR, userId])
    for (const role of ['admin', 'owner']) {
      await set(role, ADMIN)(world.db)
      const outcome = await meet(world.db, [person(OWNER), set('viewer', ADMIN)], [person(ADMIN), set(role, ADMIN)])
      expect(outcome).toEqual([{ value: 1 }, REFUSED])
      expect(await roleOf(ADMIN)).toEqual([{ role: 'viewer' }])
    }
    // Nor others, behind the lock of whose row they waited.
    await set('admin', ADMIN)(world.db)
    const both = async (tx: Sql) => (await set('viewer', ADMIN)(tx)) + (await set('viewer', MEMBER)(tx))
    const removal = async (tx: Sql) =>
      (
        await tx.query(`delete from public.memberships where tenant_id = $1 and user_id = $2 returning role`, [
          HARBOR,
          MEMBER,
        ])
      ).length
    expect(await meet(world.db, [person(OWNER), both], [person(ADMIN), removal])).toEqual([{ value: 2 }, REFUSED])
    expect(await roleOf(MEMBER)).toEqual([{ role: 'viewer' }])
    // Who is still an admin gets what they waited for.
    await set('admin', ADMIN)(world.db)
    expect(
      await meet(world.db, [person(OWNER), set('viewer', MEMBER)], [person(ADMIN), set('member', MEMBER)]),
    ).toEqual([{ value: 1 }, { value: 1 }])
  })

  it('a source that waits is claimed once', async () => {
    await reset(`extraction_status = 'pending', extracted_at = null`, 'ai.sources', source)
    const [first, second] = await meet(
      world.db,
      [SERVICE, call(`ai.claim_extraction($1, 'first') ->> 'lease_token'`, source)],
      [SERVICE, call(`ai.claim_extraction($1, 'second') ->> 'lease_token'`, source)],
    )
    expect(first).toEqual({ value: expect.any(String) })
    expect(second).toEqual({ value: null })
  })

  it('an expired lease is taken over once, and its late holder is refused', async () => {
    await reset(
      `extraction_status = 'extracting', extracted_at = null, lease_token = '00000000-0000-4000-8000-000000000001',
       lease_expires_at = now() - interval '1 second'`,
      'ai.sources',
      source,
    )
    const [taken, again] = await meet(
      world.db,
      [SERVICE, call(`ai.claim_extraction($1, 'second') ->> 'lease_token'`, source)],
      [SERVICE, call(`ai.claim_extraction($1, 'third') ->> 'lease_token'`, source)],
    )
    expect(taken).toEqual({ value: expect.any(String) })
    expect(again).toEqual({ value: null })
    await reset(`lease_expires_at = now() - interval '1 second'`, 'ai.sources', source)
    const { value: holder } = taken as { value: string }
    const [, late] = await meet(
      world.db,
      [SERVICE, call(`ai.claim_extraction($1, 'fourth') ->> 'lease_token'`, source)],
      [SERVICE, call(`ai.finish_extraction($1, $2, 1, '{}')`, source, holder)],
    )
    expect(late).toEqual({ value: false })
  })

  it('the holder who ends while the lease is being taken over wins, and nobody does the work again', async () => {
    await reset(`index_status = 'pending'`, 'ai.indexed_sources', indexed)
    const holder = await world.db.asCaller(SERVICE, call(`ai.claim_indexing($1, 'first') ->> 'lease_token'`, indexed))
    await reset(`lease_expires_at = now() - interval '1 second'`, 'ai.indexed_sources', indexed)
    const [finished, taken] = await meet(
      world.db,
      [SERVICE, call(`ai.finish_indexing($1, $2, 0, 'm', '{}')`, indexed, holder)],
      [SERVICE, call(`ai.claim_indexing($1, 'second')`, indexed)],
    )
    expect(finished).toEqual({ value: true })
    expect(taken).toEqual({ value: null })
  })

  const stageOne = async (): Promise<unknown> => {
    await reset(`index_status = 'pending'`, 'ai.indexed_sources', indexed)
    const holder = await world.db.asCaller(SERVICE, call(`ai.claim_indexing($1, 'w') ->> 'lease_token'`, indexed))
    const chunk = {
      chunk_index: 0,
      text: 'new text',
      start_char: 0,
      end_char: 8,
      tokens: 2,
      score: 1,
      meta: {},
      content_hash: 'h',
      embedding: [1, 0],
    }
    await world.db.asCaller(SERVICE, call(`ai.stage_chunks($1, $2, $3, 'm')`, indexed, holder, JSON.stringify([chunk])))
    return holder
  }
  const chunks = () => world.db.query('select text, visibility from ai.chunks where source_id = $1', [source])
  const hideSource = async (tx: Sql) =>
    (await tx.query(`update ai.sources set visibility = 'private' where id = $1 returning id`, [source])).length

  it('a source that is hidden while its chunks are swapped in hides the new chunks', async () => {
    const holder = await stageOne()
    const outcomes = await meet(
      world.db,
      [SERVICE, call(`ai.finish_indexing($1, $2, 1, 'm', '{}')`, indexed, holder)],
      [person(MEMBER), hideSource],
    )
    expect(outcomes).toEqual([{ value: true }, { value: 1 }])
    expect(await chunks()).toEqual([{ text: 'new text', visibility: 'private' }])
  })

  it('chunks that are swapped in while their source is being hidden are hidden', async () => {
    const holder = await stageOne()
    const outcomes = await meet(
      world.db,
      [person(MEMBER), hideSource],
      [SERVICE, call(`ai.finish_indexing($1, $2, 1, 'm', '{}')`, indexed, holder)],
    )
    expect(outcomes).toEqual([{ value: 1 }, { value: true }])
    expect(await chunks()).toEqual([{ text: 'new text', visibility: 'private' }])
  })

  it('a grant taken back while another is given is gone', async () => {
    await reset(`visibility = 'granted'`, 'ai.sources', source)
    await world.db.query(`insert into ai.source_grants (tenant_id, source_id, user_id) values ($1, $2, $3)`, [
      HARBOR,
      source,
      VIEWER,
    ])
    const outcomes = await meet(
      world.db,
      [
        person(MEMBER),
        async (tx) =>
          (await tx.query(`delete from ai.source_grants where source_id = $1 returning id`, [source])).length,
      ],
      [
        person(MEMBER),
        async (tx) =>
          (
            await tx.query(
              `insert into ai.source_grants (tenant_id, source_id, user_id) values ($1, $2, $3) returning id`,
              [HARBOR, source, ADMIN],
            )
          ).length,
      ],
    )
    expect(outcomes).toEqual([{ value: 1 }, { value: 1 }])
    const [row] = await world.db.query(`select allowed_principals from ai.sources where id = $1`, [source])
    expect(row).toEqual({ allowed_principals: [ADMIN] })
  })

  it('a source deleted while its indexing ends is no deadlock', async () => {
    const holder = await stageOne()
    const outcomes = await meet(
      world.db,
      [
        person(MEMBER),
        async (tx) => (await tx.query(`delete from ai.sources where id = $1 returning id`, [source])).length,
      ],
      [SERVICE, call(`ai.finish_indexing($1, $2, 1, 'm', '{}')`, indexed, holder)],
    )
    expect(outcomes).toEqual([{ value: 1 }, { value: false }])
    expect(await chunks()).toEqual([])
  })

  it('the same bytes sent by two people at once are one source, and the second is told which', async () => {
    const register = call(`ai.register_source('x.txt', '.txt', 'text/plain', 1, $1) ->> 'id'`, 'f'.repeat(64))
    const [first, second] = await meet(world.db, [person(MEMBER), register], [person(ADMIN), register])
    const { value: id } = first as { value: string }
    expect(second).toMatchObject({ code: 'PT409' })
    expect(JSON.parse((second as { detail: string }).detail)).toMatchObject({
      code: 'duplicate_source',
      duplicate: { id },
    })
  })

  it('a source completed twice at once is queued once', async () => {
    await reset(`uploaded_at = null, extraction_status = 'pending', extracted_at = null`, 'ai.sources', source)
    const complete = call('ai.complete_upload($1)', source)
    const outcomes = await meet(world.db, [person(MEMBER), complete], [person(MEMBER), complete])
    expect(outcomes.every((outcome) => 'value' in outcome)).toBe(true)
    const jobs = await world.db.query(
      `select id from pgboss.job where name = 'extract_source' and data ->> 'id' = $1`,
      [source],
    )
    expect(jobs).toHaveLength(1)
  })

  it('of two owners who step down at once, one stays', async () => {
    await world.db.query(`update public.memberships set role = 'owner' where tenant_id = $1 and user_id = $2`, [
      HARBOR,
      ADMIN,
    ])
    const stepDown = (id: string) => async (tx: Sql) =>
      (await tx.query(`update public.memberships set role = 'member' where user_id = $1 returning user_id`, [id]))
        .length
    const [first, second] = await meet(world.db, [person(OWNER), stepDown(OWNER)], [person(ADMIN), stepDown(ADMIN)])
    expect(first).toEqual({ value: 1 })
    expect(second).toMatchObject({ code: 'PT409' })
    const owners = await world.db.query(
      `select user_id from public.memberships where tenant_id = $1 and role = 'owner'`,
      [HARBOR],
    )
    expect(owners).toEqual([{ user_id: ADMIN }])
    await world.db.query(`update public.memberships set role = 'owner' where tenant_id = $1 and user_id = $2`, [
      HARBOR,
      OWNER,
    ])
  })

  it('of two owners who leave at once, one stays', async () => {
    const leave = (id: string) => async (tx: Sql) =>
      (
        await tx.query(`delete from public.memberships where tenant_id = $1 and user_id = $2 returning user_id`, [
          HARBOR,
          id,
        ])
      ).length
    const [first, second] = await meet(world.db, [person(ADMIN), leave(ADMIN)], [person(OWNER), leave(OWNER)])
    expect(first).toEqual({ value: 1 })
    expect(second).toMatchObject({ code: 'PT409' })
    await world.db.query(`insert into public.memberships (tenant_id, user_id, role) values ($1, $2, 'admin')`, [
      HARBOR,
      ADMIN,
    ])
  })

  it('an invitation accepted twice at once makes one member', async () => {
    const [invitation] = await world.db.query<{ id: string }>(
      `insert into public.invitations (tenant_id, email, role) values ($1, 'outsider@bulkhead.example', 'viewer') returning id`,
      [HARBOR],
    )
    const accept = call('(public.accept_invitation($1)).role', invitation?.id)
    const [first, second] = await meet(world.db, [person(OUTSIDER), accept], [person(OUTSIDER), accept])
    expect(first).toEqual({ value: 'viewer' })
    expect(second).toMatchObject({ code: 'PT404' })
    await world.db.query('delete from public.memberships where user_id = $1', [OUTSIDER])
  })

  it('a question answered twice at once has one answer', async () => {
    const turn = (await world.db.asCaller(
      person(VIEWER),
      call(`public.begin_chat_turn(message => 'hello')`),
    )) as Record<string, string>
    const answer = (content: string) =>
      call(`ai.finish_chat_turn($1, $2, content => $3) ->> 'content'`, turn.session_id, turn.message_id, content)
    const outcomes = await meet(world.db, [SERVICE, answer('first')], [SERVICE, answer('second')])
    expect(outcomes).toEqual([{ value: 'first' }, { value: 'first' }])
  })

  it('two runs in a new session of the same id at once share it', async () => {
    const [agent] = await world.db.query<{ id: string }>(
      'select id from ai.agents where is_default and tenant_id = $1',
      [HARBOR],
    )
    const run = call(`ai.start_run($1, 'shared-1', 'hello', request => '{"message": "hello"}')`, agent?.id)
    const [first, second] = await meet(world.db, [person(MEMBER), run], [person(MEMBER), run])
    expect(first).toMatchObject({
      value: { session_uuid: expect.any(String), status: 'running', is_new_session: true },
    })
    const { session_uuid } = (first as { value: Record<string, unknown> }).value
    // One is carried out, the other waits for it.
    expect(second).toMatchObject({
      value: { session_uuid, status: 'pending', lease_token: null, is_new_session: false },
    })
  })
})
