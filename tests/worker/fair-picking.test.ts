import { beforeAll, expect, test } from 'vitest'
import { startQueue } from '../../worker/queue.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack()
const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const LIMIT = 2

beforeAll(() => stack.db.exec('delete from pgboss.job'))

/** Uploaded sources of a tenant, and their jobs. */
async function enqueue(tenant: string, count: number): Promise<string[]> {
  const rows = await stack.db.query<{ id: string }>(
    `with made as (
       insert into ai.sources (id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path)
       select id, $1::uuid, 'x', '.txt', 'text/plain', 1, encode(sha256(id::text::bytea), 'hex'), $1 || '/' || id || '/x'
       from (select gen_random_uuid() as id from generate_series(1, $2::int)) as ids
       returning id
     )
     select id, private.enqueue('extract_source', jsonb_build_object('id', id), now(), id::text) from made`,
    [tenant, count],
  )
  return rows.map(({ id }) => id)
}

test('one tenant with two hundred jobs leaves a place for another, takes turns with it, and never has more than its limit', async () => {
  const ours = new Set(await enqueue(HARBOR, 200))
  const begun: string[] = []
  const ends: (() => void)[] = []
  let active = 0
  let most = 0
  const stopping = new AbortController()
  const queue = await startQueue(
    { databaseUrl: stack.dbUrl, poolSize: 1, pollSeconds: 0.5, superviseSeconds: 5 },
    [
      {
        queue: 'extract_source',
        concurrency: LIMIT + 1,
        isUrgent: true,
        tenantLimit: LIMIT,
        async handle({ id }) {
          const isOurs = ours.has(id)
          begun.push(isOurs ? 'ours' : 'theirs')
          if (isOurs) most = Math.max(most, ++active)
          await new Promise<void>((resolve) => ends.push(resolve))
          if (isOurs) active -= 1
        },
      },
    ],
    stopping.signal,
    { info: () => {}, error: () => {} },
  )
  try {
    await eventually(() => expect(begun).toEqual(['ours', 'ours']))
    // None of ours has ended: the third place has been kept.
    await enqueue(MERIDIAN, 1)
    await eventually(() => expect(begun).toEqual(['ours', 'ours', 'theirs']))
    // All places are taken now. Whoever comes goes next, not after the two hundred.
    await enqueue(MERIDIAN, 3)
    for (let served = 3; served < 9; served++) {
      ends.shift()?.()
      await eventually(() => expect(begun.length).toBeGreaterThan(served))
    }
    expect(begun.slice(0, 9).filter((whose) => whose === 'theirs')).toHaveLength(4)
    expect(most).toBe(LIMIT)
  } finally {
    for (const end of ends) end()
    await queue.pause()
    for (const end of ends) end()
    await queue.stop()
  }
})
