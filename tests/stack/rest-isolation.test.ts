import { expect, test } from 'vitest'
import { ALICE, BOB, FIXTURE_PASSWORD, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })

// @supabase/lite as it comes answers anon with service_role's rows here: transactions of one PGlite session interleave.
test('400 requests at once as anon, service_role and two users: everybody gets their own rows, 400 times', async () => {
  const [alice, bob] = await Promise.all([ALICE, BOB].map(({ email }) => stack.signIn(email, FIXTURE_PASSWORD)))
  const callers = [
    { client: stack.anon, rows: [] },
    { client: stack.service, rows: ['alice one', 'alice two', 'bob one'] },
    { client: alice!, rows: ['alice one', 'alice two'] },
    { client: bob!, rows: ['bob one'] },
  ]
  const answers = await Promise.all(
    Array.from({ length: 400 }, async (_, index) => {
      const { client, rows } = callers[index % callers.length]!
      const { data, error } = await client.from('notes').select('body').order('id')
      return { error, right: JSON.stringify(data?.map(({ body }) => body)) === JSON.stringify(rows) }
    }),
  )
  expect(answers.filter(({ error }) => error)).toEqual([])
  expect(answers.filter(({ right }) => right)).toHaveLength(400)
})

test('the same in one process tick, past the sockets, with failing requests and owner statements between', async () => {
  const anonRows = () =>
    stack.db.asCaller({ role: 'anon', claims: { role: 'anon' } }, (tx) => tx.query('select body from public.notes'))
  const aliceRows = () =>
    stack.db.asCaller({ role: 'authenticated', claims: { sub: ALICE.id, role: 'authenticated' } }, (tx) =>
      tx.query('select body, current_user as role, auth.uid() as uid from public.notes'),
    )
  const failing = () =>
    stack.db
      .asCaller({ role: 'authenticated', claims: { sub: BOB.id } }, (tx) => tx.query('select 1 / 0'))
      .then(
        () => null,
        (error: { code: string }) => error.code,
      )
  const ownerRows = () => stack.db.query('select body, current_user as role, auth.uid() as uid from public.notes')
  const rounds = await Promise.all(
    Array.from({ length: 100 }, () => Promise.all([anonRows(), aliceRows(), failing(), ownerRows()])),
  )
  for (const [anon, alice, failed, owner] of rounds) {
    expect(anon).toEqual([])
    expect(alice).toHaveLength(2)
    expect(new Set(alice.map(({ role, uid }) => `${String(role)} ${String(uid)}`))).toEqual(
      new Set([`authenticated ${ALICE.id}`]),
    )
    expect(failed).toBe('22012')
    expect(owner).toHaveLength(3)
    expect(new Set(owner.map(({ role, uid }) => `${String(role)} ${String(uid)}`))).toEqual(new Set(['postgres null']))
  }
})
