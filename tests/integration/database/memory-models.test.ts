// Another model takes over memories while people write and change them. None may count as embedded that has no vector of the
// model in use: nobody would ever make it one.
import { beforeEach, describe, expect, it } from 'vitest'
import type { Row } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, meet, person, SERVICE } from '../../support/two-sessions.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const OWNER = 'a0000000-0000-4000-8000-000000000001'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'

describe.skipIf(noNativeServer())('memories that change while another model takes over', () => {
  const prepared = usePreparedDatabase(NATIVE_URL)
  let memory = ''
  let reembedding = ''
  let lease = ''

  const query = <R extends Row>(text: string, params: unknown[] = []) => prepared.db.query<R>(text, params)

  /** One memory with vectors of both models, and all that remains is to change over. */
  beforeEach(async () => {
    await query('delete from public.memories')
    await query('delete from private.reembeddings where tenant_id = $1', [HARBOR])
    await query(
      `update public.tenants set memory_embedding_model = 'old', next_memory_embedding_model = null where id = $1`,
      [HARBOR],
    )
    const [row] = await query<{ id: string }>(
      `insert into public.memories (tenant_id, user_id, body) values ($1, $2, 'Likes mountains') returning id`,
      [HARBOR, MEMBER],
    )
    memory = row!.id
    await query(`select ai.store_memory_vector($1, md5('Likes mountains'), 'old', '[1,2]')`, [memory])
    await prepared.db.asCaller(person(OWNER), (tx) => tx.query(`select ai.reembed_memories('new')`))
    const [claimed] = await query<{ id: string; token: string }>(
      `select id, ai.claim_reembedding(id, 'test') ->> 'lease_token' as token from private.reembeddings where tenant_id = $1`,
      [HARBOR],
    )
    reembedding = claimed!.id
    lease = claimed!.token
    await query(
      `select ai.store_reembedded($1, $2, jsonb_build_array(
         jsonb_build_object('id', $3::uuid, 'text_hash', md5('Likes mountains'), 'embedding', '[1,2,3]'::jsonb)
       ))`,
      [reembedding, lease, memory],
    )
  })

  /** Memories that count as embedded without a vector of the model they name. */
  const forgotten = () =>
    query(
      `select memories.body, memories.embedding_model
       from public.memories
       where memories.embedding_model is not null and not exists (
         select from private.search_vectors
         join private.vector_sets on vector_sets.id = vector_set_id
         where item_id = memories.id and vector_sets.embedding_model = memories.embedding_model
       )`,
    )

  it('embeds anew what was changed at the moment of the switch', async () => {
    const [changed, finished] = await meet(
      prepared.db,
      [person(MEMBER), (tx) => tx.query(`update public.memories set body = 'Likes the sea' where id = $1`, [memory])],
      [SERVICE, call('ai.finish_reembedding($1, $2)', reembedding, lease)],
    )
    expect(changed).toMatchObject({ value: expect.anything() })
    expect(finished).toEqual({ value: 'incomplete' })
    expect(await forgotten()).toEqual([])
  })

  it('changes over beside what changes nothing about the text', async () => {
    const [, finished] = await meet(
      prepared.db,
      [person(MEMBER), (tx) => tx.query('update public.memories set body = body where id = $1', [memory])],
      [SERVICE, call('ai.finish_reembedding($1, $2)', reembedding, lease)],
    )
    expect(finished).toEqual({ value: 'switched' })
    expect(await forgotten()).toEqual([])
    expect(await query('select embedding_model from public.memories')).toEqual([{ embedding_model: 'new' }])
  })
})
