import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import process from 'node:process'
import { beforeAll, expect, test } from 'vitest'
import type { QueueReport } from '../../scripts/support/queue-report.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack()
const HARBOR = '11111111-1111-4111-8111-111111111111'

/** Runs `npm run queue` as a person would. */
async function queue(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['scripts/queue.ts', ...args], {
    env: { PATH: process.env['PATH'] ?? '', DATABASE_URL: stack.dbUrl },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data: Buffer) => (stdout += String(data)))
  child.stderr.on('data', (data: Buffer) => (stderr += String(data)))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout, stderr }
}
const report = async () => JSON.parse((await queue('--json')).stdout) as QueueReport
const extraction = async () => (await report()).queues.find((row) => row.queue === 'extract_source')

let source = ''
beforeAll(async () => {
  await stack.db.exec('delete from pgboss.job')
  source = randomUUID()
  await stack.db.query(
    `insert into ai.sources (
       id, tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, uploaded_at, extraction_status, error_code,
       reason_code, error_message, attempts
     ) values ($1::uuid, $2::uuid, 'given up', '.txt', 'text/plain', 1, repeat('c', 64), $2::uuid::text || '/' || $1::uuid::text || '/x', now(), 'failed',
       'internal', 'dead_letter', 'x', 10)`,
    [source, HARBOR],
  )
})

test('shows every queue, and whose work it is', async () => {
  await stack.db.query(`select ai.enqueue('index_source', jsonb_build_object('id', gen_random_uuid()))`)
  const { queues, tenants, sweeps } = await report()
  expect(queues.map((row) => row.queue)).toEqual(
    expect.arrayContaining(['embed_memory', 'extract_source', 'fire_schedule', 'index_source', 'run_agent', 'sweep']),
  )
  expect(queues.find((row) => row.queue === 'index_source')).toMatchObject({ waiting: 1, active: 0, dead: 0 })
  expect(await extraction()).toMatchObject({ waiting: 0, dead: 1, max_active_per_tenant: 2 })
  expect(tenants).toEqual([expect.objectContaining({ tenant_id: HARBOR, tenant_name: 'Harbor Logistics', dead: 1 })])

  expect(sweeps).toHaveLength(10)
  const [row] = await stack.db.query<{ id: string }>(`select id from private.sweeps where name = 'requeue_work'`)
  await stack.db.query('select ai.run_sweep($1), ai.note_failed_sweep($1, $2)', [row!.id, 'unavailable'])
  expect((await report()).sweeps.find(({ name }) => name === 'requeue_work')).toMatchObject({
    ...{ last_began_at: expect.any(String), last_ended_at: expect.any(String), last_failed_at: expect.any(String) },
    last_error: 'unavailable',
  })

  const { code, stdout } = await queue()
  expect(code).toBe(0)
  expect(stdout).toMatch(/^queue +waiting +later +active +dead/)
  expect(stdout).toMatch(/^extract_source +0 +0 +0 +1 /m)
  expect(stdout).toMatch(/^sweep +last done/m)
  expect(stdout).toMatch(/^requeue_work +20.* unavailable$/m)
  expect(stdout).toMatch(/^Harbor Logistics /m)
})

test('a redrive puts dead letters back, once', async () => {
  expect(await queue('redrive', 'extract_source')).toMatchObject({
    code: 0,
    stdout: '1 put back into extract_source\n',
  })
  expect(await extraction()).toMatchObject({ waiting: 1, dead: 0 })
  expect(await queue('redrive', 'extract_source', '--json')).toMatchObject({
    code: 0,
    stdout: '{"queue":"extract_source","redriven":0}\n',
  })
  expect(
    (await stack.db.query('select extraction_status, attempts from ai.sources where id = $1', [source]))[0],
  ).toEqual({
    extraction_status: 'pending',
    attempts: 0,
  })
})

test('what it is not asked for it does not do', async () => {
  const jobs = () => stack.db.query('select id, name, state from pgboss.job order by id')
  const before = await jobs()
  expect(await queue('redrive', 'nowhere')).toMatchObject({
    code: 1,
    stderr: 'There is no queue nowhere with dead letters.\n',
  })
  for (const args of [['redrive'], ['purge', 'extract_source'], ['redrive', 'a', 'b'], ['--force']]) {
    expect(await queue(...args)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^Usage: /) })
  }
  expect(before).not.toEqual([])
  expect(await jobs()).toEqual(before)
})
