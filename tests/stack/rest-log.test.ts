import { expect, test, vi } from 'vitest'
import { ALICE, FIXTURE_PASSWORD, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

// Before the stack starts: it keeps the engine's output from whatever the console is then.
const methods = ['error', 'warn', 'info', 'log', 'debug'] as const
const spies = methods.map((method) => vi.spyOn(console, method).mockImplementation(() => {}))
const printed = () => spies.flatMap((spy) => spy.mock.calls)

const logged: string[] = []
const stack = useStack({ projectDir: FIXTURE_PROJECT, log: (source, line) => logged.push(`${source} ${line}`) })

test('nothing of a request reaches the log: no values, filters, names or passwords; a server error is noted by its code', async () => {
  const alice = await stack.signIn(ALICE.email, FIXTURE_PASSWORD)
  const results = [
    await alice.from('notes').insert({ body: 'alice one', meta: { secret: 'row data' } }),
    await alice.from('notes').select('*').eq('id', 'row data'),
    await alice.from('row data').select('*'),
    await alice.from('notes').select('row-data'),
    await alice.rpc('fail', { sqlstate: 'XX000', message: 'row data' }),
  ]
  expect(results.map(({ status }) => status)).toEqual([409, 400, 404, 400, 500])
  await stack.anon.auth.signUp({ email: 'row data', password: 'row data!' })
  await stack.anon.auth.signInWithPassword({ email: ALICE.email, password: 'row data!' })
  expect(printed()).toEqual([])
  expect(logged).toEqual([expect.stringContaining('"code":"XX000"')])
  expect(logged.join()).not.toContain('row data')
  console.error('still works outside of the engine')
  expect(printed()).toEqual([['still works outside of the engine']])
})
