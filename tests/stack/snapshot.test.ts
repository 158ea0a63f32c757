import { expect, test } from 'vitest'
import { openPglite } from '../../local/database/pglite.ts'
import { createSnapshot } from '../../local/database/snapshot.ts'
import { startTestStack } from '../support/stack.ts'
import { FIXTURE_PROJECT } from '../support/stack-project.ts'

const SNAPSHOTS = '.local/test-snapshots'

test('databases of one snapshot share nothing, and leave it as it is', async () => {
  const snapshot = await createSnapshot(FIXTURE_PROJECT, SNAPSHOTS)
  expect(await createSnapshot(FIXTURE_PROJECT, SNAPSHOTS)).toBe(snapshot)
  const before = Buffer.from(await snapshot.blob().arrayBuffer())

  const open = () => openPglite({ snapshot })
  const [one, other] = [await open(), await open()]
  const users = 'select count(*)::int as count from auth.users'
  expect(await one.query(users)).toEqual([{ count: 2 }])
  await one.exec(`
    update auth.users set phone_change = 'in place';
    create table public.only_here as select generate_series(1, 1000) as n;
    checkpoint`)
  const changed = `select count(*)::int as count from auth.users where phone_change = 'in place'`
  const third = await open()
  for (const [db, count] of [
    [one, 2],
    [other, 0],
    [third, 0],
  ] as const) {
    expect(await db.query(changed)).toEqual([{ count }])
    expect(await db.query(`select to_regclass('public.only_here') is null as missing`)).toEqual([
      { missing: count === 0 },
    ])
    await db.close()
  }
  expect(Buffer.from(await snapshot.blob().arrayBuffer()).equals(before)).toBe(true)
})

test('stacks of one snapshot serve what each of them has', async () => {
  for (const own of ['ours', 'theirs', 'ours']) {
    const stack = await startTestStack({ projectDir: FIXTURE_PROJECT })
    try {
      await stack.db.exec(`create function public.${own}() returns text language sql as $$ select '${own}' $$`)
      for (const name of ['ours', 'theirs']) {
        const { status, data } = await stack.service.rpc(name)
        expect([status, data], `${name} where there is ${own}`).toEqual(name === own ? [200, own] : [404, null])
      }
    } finally {
      await stack.stop()
    }
  }
})
