// Who may see a source changes, sources are indexed and embedded anew, and members and knowledge bases go, all at the same time.
// Each is stopped in its midst, where it holds locks and is about to ask for more. Nobody may come to wait for another in a circle.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Row } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, person, SERVICE } from '../../support/two-sessions.ts'
import { createStandStill, meetStandingStill } from './stand-still.ts'
import type { Actor } from './stand-still.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const OWNER = 'a0000000-0000-4000-8000-000000000001'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
const VIEWER = 'a0000000-0000-4000-8000-000000000004'
const TOKEN = 'a0000000-0000-4000-8000-00000000aaaa'
/** In the order of their ids; chunks of a source are written the other way round. */
const X = '00000000-0000-4000-8000-000000000001'
const Y = '00000000-0000-4000-8000-000000000002'
/** Held while somebody is to stand still. */
const GATE = 80

describe.skipIf(noNativeServer())('what is indexed', () => {
  const prepared = usePreparedDatabase(NATIVE_URL)
  let base = ''

  const query = <R extends Row>(text: string, params: unknown[] = []) => prepared.db.query<R>(text, params)
  beforeAll(async () => {
    await createStandStill(query, 'stand_still_at_index', GATE)
    for (const [when, table] of [
      ['update', 'ai.sources'],
      ['update or delete', 'ai.chunks'],
      ['delete', 'ai.indexed_sources'],
      ['update', 'private.search_segments'],
      ['insert', 'private.search_vectors'],
      ['insert', 'ai.enrichment_results'],
    ]) {
      // By its name the last: whatever else the row has done before is done.
      await query(
        `create trigger z_stand_still before ${when} on ${table} for each row execute function tests.stand_still_at_index()`,
      )
    }
  })
  afterAll(() => query('drop function tests.stand_still_at_index() cascade'))
  beforeEach(async () => {
    await query(`delete from ai.sources where id in ('${X}', '${Y}')`)
    await query('delete from ai.knowledge_bases where tenant_id = $1 and not is_default', [HARBOR])
    const [made] = await query<{ id: string }>(
      `insert into ai.knowledge_bases (tenant_id, name, embedding_model) values ($1, 'Rules', 'm') returning id`,
      [HARBOR],
    )
    base = made!.id
  })

  /** A source of the admin with two chunks in `base`, granted to the viewer and the member where it is `granted`, whose indexing is about to end. */
  async function makeSource(id: string, visibility: string, tenant = HARBOR) {
    await query(
      `insert into ai.sources (id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status, uploaded_at, extracted_at, page_count)
       values ($1::uuid, $2::uuid, $3, $1::text, '.txt', 'text/plain', 1, encode(sha256(convert_to($1::text, 'UTF8')), 'hex'), concat($2::text, '/', $1::text, '/a'), $4, 'extracted', now(), now(), 1)`,
      [id, tenant, ADMIN, visibility],
    )
    if (visibility === 'granted') {
      await query(
        `insert into ai.source_grants (tenant_id, source_id, user_id) select $1::uuid, $2::uuid, unnest($3::uuid[])`,
        [tenant, id, [VIEWER, MEMBER]],
      )
    }
    await query(
      `insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, lease_token, lease_expires_at)
       values ($1, $2, $3, $1, 'indexing', $4, now() + interval '1 minute')`,
      [id, tenant, base, TOKEN],
    )
    for (const n of [2, 1]) {
      await query(
        `insert into ai.chunks (id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, allowed_principals, text, chunk_index, start_char, end_char, tokens, embedding_model)
         select overlay(id::text placing $2 from 20 for 1)::uuid, tenant_id, id, $3, id, owner_id, visibility, allowed_principals, 'a tariff', $2::int, 0, 8, 2, 'm'
         from ai.sources where id = $1`,
        [id, String(n), base],
      )
    }
    await query(
      `select private.store_vectors('m', array_agg(id), array_agg('[1,2]'::extensions.vector)) from ai.chunks where source_id = $1`,
      [id],
    )
    await query(
      `insert into private.staged_chunks (indexed_source_id, tenant_id, chunk_index, content_hash, text, start_char, end_char, tokens, score, meta, embedding_model, embedding)
       values ($1, $2, 0, 'h', 'a new tariff', 0, 12, 2, 1, '{}', 'm', '[1,2]')`,
      [id, tenant],
    )
  }
  const finish = (id: string): Actor => ({
    caller: SERVICE,
    work: call(`ai.finish_indexing($1, $2, 1, 'm', '{}')`, id, TOKEN),
  })
  const show = (id: string, visibility: string): Actor => ({
    caller: person(ADMIN),
    work: (tx) => tx.query('update ai.sources set visibility = $2 where id = $1', [id, visibility]),
  })
  const grantBoth = (user: string, [one, two]: [string, string]): Actor => ({
    caller: person(ADMIN),
    work: (tx) =>
      tx.query(
        `insert into ai.source_grants (tenant_id, source_id, user_id) select $1::uuid, unnest($2::uuid[]), $3::uuid`,
        [HARBOR, [one, two], user],
      ),
  })
  const removeMember = (user: string): Actor => ({
    caller: person(OWNER),
    work: (tx) => tx.query('delete from public.memberships where tenant_id = $1 and user_id = $2', [HARBOR, user]),
  })
  const store = (id: string): Actor => ({
    caller: SERVICE,
    work: async (tx) => {
      const [row] = await tx.query<{ items: unknown }>(
        `select jsonb_agg(jsonb_build_object('id', id, 'text_hash', md5(private.embedded_text(text, context, meta)), 'embedding', '[1,2,3]'::jsonb))::text as items
         from ai.chunks where source_id = $1`,
        [id],
      )
      return call('ai.store_reembedded($1, $1, $2)', TOKEN, row!.items)(tx)
    },
  })
  /** An enrichment of the knowledge base of a source, that somebody is at. */
  const enrich = (id: string) =>
    query(
      `insert into ai.enrichments (id, tenant_id, knowledge_base_id, fields, status, principal_id, run_number, lease_token, lease_expires_at)
       select $2, tenant_id, knowledge_base_id, '[{"name": "topic", "description": "Topic.", "type": "text"}]', 'enriching', $3, 1, $2, now() + interval '1 minute'
       from ai.indexed_sources where id = $1`,
      [id, TOKEN, ADMIN],
    )
  const answer = (id: string): Actor => ({
    caller: SERVICE,
    work: call(`ai.store_enrichment_result($1, $1, $2, null, '{"topic": "tariffs"}')`, TOKEN, id),
  })
  const answers = () => query('select from ai.enrichment_results where enrichment_id = $1', [TOKEN])
  const endReembedding: Actor = { caller: SERVICE, work: call('ai.finish_reembedding($1, $1)', TOKEN) }
  const changeModel = (name: string): Actor => ({
    caller: person(ADMIN),
    work: (tx) => call(`ai.${name}($1, 'n')`, base)(tx),
  })
  const remove = (table: string, id: string): Actor => ({
    caller: SERVICE,
    work: (tx) => tx.query(`delete from ${table} where id = $1`, [id]),
  })
  const meet = (stop: string, one: Actor, two: Actor) => meetStandingStill(prepared.db, GATE, stop, one, two)
  const texts = (id: string) =>
    query<{ text: string; visibility: string; allowed_principals: string[]; is_found: boolean }>(
      `select chunks.text, chunks.visibility, chunks.allowed_principals,
         search_segments.visibility = chunks.visibility
           and search_segments.allowed_principals = case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end as is_found
       from ai.chunks
       left join private.search_lexemes on search_lexemes.item_id = chunks.id
       left join private.search_segments on search_segments.id = search_lexemes.segment_id
       where chunks.source_id = $1 order by chunks.chunk_index`,
      [id],
    )
  const done = ['done', 'done']

  it.each(['the one that is hidden', 'the one that is shown'])(
    'a source is hidden while another is shown, first %s: both get through',
    async (first) => {
      await makeSource(X, 'tenant')
      await makeSource(Y, 'private')
      const [hide, reveal] = [show(X, 'private'), show(Y, 'tenant')]
      const [one, two] = first === 'the one that is hidden' ? [hide, reveal] : [reveal, hide]
      expect(await meet('search_segments', one, two)).toEqual(done)
      expect((await texts(X)).map(({ visibility, is_found }) => [visibility, is_found])).toEqual([
        ['private', true],
        ['private', true],
      ])
      expect((await texts(Y)).map(({ visibility, is_found }) => [visibility, is_found])).toEqual([
        ['tenant', true],
        ['tenant', true],
      ])
    },
  )

  it('a knowledge base is deleted while the indexing of its source ends: both get through', async () => {
    await makeSource(X, 'tenant')
    expect(await meet('chunks', finish(X), remove('ai.knowledge_bases', base))).toEqual(done)
    expect(await texts(X)).toEqual([])
  })

  it('the indexing of a source ends while its knowledge base is deleted: it has nothing to do', async () => {
    await makeSource(X, 'tenant')
    expect(await meet('indexed_sources', remove('ai.knowledge_bases', base), finish(X))).toEqual(done)
    expect(await texts(X)).toEqual([])
  })

  describe('while it is enriched', () => {
    const others = [
      { what: 'it is deleted', other: () => remove('ai.sources', X) },
      { what: 'it is taken out of the knowledge base', other: () => remove('ai.indexed_sources', X) },
      { what: 'its knowledge base is deleted', other: () => remove('ai.knowledge_bases', base) },
    ]
    beforeEach(async () => {
      await makeSource(X, 'tenant')
      await enrich(X)
    })

    it.each(others)('$what, first that: there is no answer to store', async ({ other }) => {
      expect(await meet('indexed_sources', other(), answer(X))).toEqual(done)
      expect(await answers()).toEqual([])
    })

    it.each(others)('$what, first the answer: both get through', async ({ other }) => {
      expect(await meet('enrichment_results', answer(X), other())).toEqual(done)
      expect(await answers()).toEqual([])
    })
  })

  it.each([{ source: X }, { source: Y }])(
    'a member with grants leaves while the indexing of $source ends: both get through',
    async ({ source }) => {
      await makeSource(X, 'granted')
      await makeSource(Y, 'granted')
      expect(await meet('chunks', finish(source), removeMember(VIEWER))).toEqual(done)
      await query(`insert into public.memberships (tenant_id, user_id, role) values ($1, $2, 'viewer')`, [
        HARBOR,
        VIEWER,
      ])
      expect(await texts(source)).toEqual([
        { text: 'a new tariff', visibility: 'granted', allowed_principals: [MEMBER], is_found: true },
      ])
    },
  )

  it('two people are granted the same sources in different orders: both are', async () => {
    await makeSource(X, 'granted')
    await makeSource(Y, 'granted')
    const codes = await meet('sources', grantBoth(OWNER, [X, Y]), grantBoth(ADMIN, [Y, X]))
    expect(codes).toEqual(done)
    for (const id of [X, Y]) {
      expect((await texts(id)).map(({ allowed_principals, is_found }) => [allowed_principals, is_found])).toEqual([
        [[OWNER, ADMIN, MEMBER, VIEWER], true],
        [[OWNER, ADMIN, MEMBER, VIEWER], true],
      ])
    }
  })

  describe('while vectors of another model are stored', () => {
    const stored = async () =>
      (
        await query(
          `select from private.search_vectors join private.vector_sets on id = vector_set_id where embedding_model = 'n'`,
        )
      ).length
    beforeEach(async () => {
      await makeSource(X, 'tenant')
      await query(
        `insert into private.reembeddings (id, tenant_id, knowledge_base_id, embedding_model, status, lease_token, lease_expires_at)
         values ($1, $2, $3, 'n', 'running', $1, now() + interval '1 minute')`,
        [TOKEN, HARBOR, base],
      )
    })

    it('its source is hidden: both get through', async () => {
      expect(await meet('chunks', show(X, 'private'), store(X))).toEqual(done)
      expect((await texts(X)).map(({ visibility }) => visibility)).toEqual(['private', 'private'])
      expect(await stored()).toBe(2)
    })

    it.each([
      { what: 'searched by them', other: endReembedding, code: 'done' },
      { what: 'switched to them', other: changeModel('switch_embedding_model'), code: 'PT404' },
      { what: 'rid of them', other: changeModel('discard_embedding_model'), code: 'PT404' },
    ])('its knowledge base is deleted, and is to be $what: it goes', async ({ other, code }) => {
      await query(`update ai.knowledge_bases set next_embedding_model = 'n' where id = $1`, [base])
      await prepared.db.asCaller(SERVICE, store(X).work)
      expect(await meet('chunks', remove('ai.knowledge_bases', base), other)).toEqual(['done', code])
      expect(await texts(X)).toEqual([])
    })

    it.each([
      { what: 'its source is deleted', other: () => remove('ai.sources', X) },
      { what: 'its source is taken out of the knowledge base', other: () => remove('ai.indexed_sources', X) },
      { what: 'its knowledge base is deleted', other: () => remove('ai.knowledge_bases', base) },
    ])('$what: both get through', async ({ other }) => {
      expect(await meet('chunks', other(), store(X))).toEqual(done)
      expect(await texts(X)).toEqual([])
      expect(await stored()).toBe(0)
    })
  })

  describe.each([
    { what: 'its knowledge base is deleted', other: () => remove('ai.knowledge_bases', base) },
    { what: 'it is taken out of its knowledge base', other: () => remove('ai.indexed_sources', X) },
  ])('a source is hidden while $what: both get through', ({ other }) => {
    it.each([{ first: 'that' }, { first: 'hiding it' }])('first $first', async ({ first }) => {
      await makeSource(X, 'tenant')
      const [one, two] = first === 'that' ? [other(), show(X, 'private')] : [show(X, 'private'), other()]
      expect(await meet('chunks', one, two)).toEqual(done)
      expect(await texts(X)).toEqual([])
    })
  })

  describe('while a tenant is deleted', () => {
    const LEAVING = '00000000-0000-4000-8000-000000000003'
    const leave = remove('public.tenants', LEAVING)
    const left = () => query('select from public.tenants where id = $1', [LEAVING])
    beforeEach(async () => {
      await query('delete from public.tenants where id = $1', [LEAVING])
      await query(`insert into public.tenants (id, name) values ($1, 'Leaving')`, [LEAVING])
      await query(`insert into public.memberships (tenant_id, user_id, role) values ($1, $2, 'owner')`, [
        LEAVING,
        ADMIN,
      ])
      const [made] = await query<{ id: string }>(
        `insert into ai.knowledge_bases (tenant_id, name, embedding_model) values ($1, 'Rules', 'm') returning id`,
        [LEAVING],
      )
      base = made!.id
      await makeSource(X, 'tenant', LEAVING)
      await query(
        `insert into private.reembeddings (id, tenant_id, knowledge_base_id, embedding_model, status, lease_token, lease_expires_at)
         values ($1, $2, $3, 'n', 'running', $1, now() + interval '1 minute')`,
        [TOKEN, LEAVING, base],
      )
      await enrich(X)
    })

    it.each([
      { what: 'the indexing of its source ends', other: () => finish(X), stop: 'chunks' },
      { what: 'vectors of another model are stored', other: () => store(X), stop: 'search_vectors' },
      { what: 'it is enriched', other: () => answer(X), stop: 'enrichment_results' },
    ])('$what, first that: both get through', async ({ other, stop }) => {
      expect(await meet(stop, other(), leave)).toEqual(done)
      expect(await left()).toEqual([])
    })

    it.each([
      { what: 'ends', other: endReembedding, code: 'done' },
      { what: 'is switched to', other: changeModel('switch_embedding_model'), code: 'PT404' },
      { what: 'is discarded', other: changeModel('discard_embedding_model'), code: 'PT404' },
    ])('another model $what, first the deletion: it goes', async ({ other, code }) => {
      await query(`update ai.knowledge_bases set next_embedding_model = 'n' where id = $1`, [base])
      await prepared.db.asCaller(SERVICE, store(X).work)
      expect(await meet('chunks', leave, other)).toEqual(['done', code])
      expect(await left()).toEqual([])
    })

    it.each([
      { what: 'the indexing of its source ends', other: () => finish(X) },
      { what: 'vectors of another model are stored', other: () => store(X) },
      { what: 'it is enriched', other: () => answer(X), stop: 'indexed_sources' },
    ])('$what, first the deletion: both get through', async ({ other, stop = 'chunks' }) => {
      expect(await meet(stop, leave, other())).toEqual(done)
      expect(await left()).toEqual([])
    })
  })
})
