import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { begin, bySteps, expectWhole, standingOf } from '../functions/support/durable-run.ts'
import { startEndpoint } from '../functions/support/endpoint.ts'
import type { Endpoint } from '../functions/support/endpoint.ts'
import { userCaller } from '../functions/support/http.ts'
import type { FunctionsCaller, Json } from '../functions/support/http.ts'
import { eventually } from '../support/eventually.ts'
import { startScriptedModel } from '../support/scripted-model/index.ts'
import type { ScriptedModel } from '../support/scripted-model/index.ts'
import { useStack } from '../support/stack.ts'
import { spawnWorker, type WorkerUnderTest } from './ingestion-support.ts'

// The database is stopped and started again while the worker carries out one run and the function another; the gateway, in
// this process, has to live through it, too. It is a server of this test alone: NATIVE_PG_TOOL is a program that takes
// `start FOLDER PORT` and prints the address, and `stop FOLDER`.

const tool = process.env['NATIVE_PG_TOOL'] ?? ''
const isPossible = existsSync(tool)
if (!isPossible) console.log('Left out: a database that is restarted. Set NATIVE_PG_TOOL to run it.')

const pgTool = async (...args: string[]): Promise<string> => (await promisify(execFile)(tool, args)).stdout.trim()

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const call = (item: string) => ({ toolCalls: [{ name: 'count', arguments: { item } }], text: [`Step ${item}. `] })
const TURNS = [call('one'), call('two'), call('three'), { text: ['All three ', 'are counted.'] }]
const CALLS = 3

describe.skipIf(!isPossible)('a database that is stopped and started in the middle', () => {
  const userEnv: Record<string, string> = { RUN_LEASE_SECONDS: '2' }
  let folder = ''
  let port = 0
  let model: ScriptedModel
  let endpoint: Endpoint
  let member: FunctionsCaller
  let agentId = ''
  let worker: WorkerUnderTest
  const shared = process.env['TEST_DATABASE_URL']
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'bulkhead-restart-'))
    // PostgreSQL does not run as root; whom the program runs it as has to get in.
    chmodSync(folder, 0o711)
    port = await freePort()
    process.env['TEST_DATABASE_URL'] = await pgTool('start', join(folder, 'pg'), String(port))
    model = await startScriptedModel()
    endpoint = await startEndpoint()
    Object.assign(userEnv, model.env, { BULKHEAD_EGRESS_ALLOW_HOSTS: endpoint.host })
  })
  afterAll(async () => {
    await pgTool('stop', join(folder, 'pg'))
    rmSync(folder, { recursive: true, force: true })
    if (shared === undefined) delete process.env['TEST_DATABASE_URL']
    else process.env['TEST_DATABASE_URL'] = shared
  })
  const stack = useStack({ userEnv, functions: 'on-demand', denoBin: process.env['DENO_BIN'] })
  beforeAll(async () => {
    member = await userCaller(stack, 'member@harbor.example')
    const admin = await userCaller(stack, 'admin@harbor.example')
    agentId = (await admin.json(201, 'POST', '/api/agents', { json: { name: 'Counter' } }))['id']
    const counter = await admin.json(201, 'POST', '/api/tools', {
      json: {
        name: 'count',
        description: 'Counts an item.',
        type: 'http',
        input_schema: { type: 'object', properties: { item: { type: 'string' } }, required: ['item'] },
        config: { endpoint: `${endpoint.url}/count`, method: 'POST', session_token: false, retry_safe: true },
      },
    })
    await admin.json(201, 'POST', `/api/agents/${agentId}/tools`, {
      json: {
        tool_type: 'custom',
        tool_name: 'count',
        tool_id: counter['id'],
        config_override: { untrusted: 'allow' },
      },
    })
    model.play(bySteps(TURNS))
  })
  afterAll(async () => {
    await worker?.kill()
    await model?.stop()
    await endpoint?.stop()
  })

  test('both runs end once, and nothing takes effect twice', { timeout: 180_000 }, async () => {
    /** What took effect: the endpoint does nothing for a key that it has seen. */
    const effects: string[] = []
    const release = Promise.withResolvers<void>()
    endpoint.answerWith(async ({ headers, text }) => {
      const key = String(headers['idempotency-key'])
      if (!effects.includes(key)) effects.push(key)
      // Each run is in the middle of its second call when the database goes.
      if (text.includes('two')) await release.promise
      return { json: { counted: effects.length } }
    })
    const accepted = await member.json(202, 'POST', `/api/agents/${agentId}/run`, {
      json: { message: 'Count all three.', background: true },
    })
    // Runs in the background have no tools; the worker takes this one up as one whose function has gone.
    const [run] = await stack.db.query<{ id: string }>(
      'update ai.agent_runs set streams = true where run_id = $1 returning id',
      [accepted['run_id']],
    )
    await stack.db.query(`update private.run_requests set request = request - 'background' where run_id = $1`, [
      run!.id,
    ])
    worker = await spawnWorker(stack, { WORKER_RUN_SECONDS: '0.3' })
    const stream = await begin(member, agentId, { message: 'Count all three.' })
    const inline = (await stream.next())!['run_id'] as string
    const runIds = [accepted['run_id'] as string, inline]
    await eventually(() => expect(endpoint.received.filter(({ text }) => text.includes('two'))).toHaveLength(2), 60_000)
    const holders = await stack.db.query<{ executor: string | null; run_id: string }>(
      'select run_id, executor from ai.agent_runs where run_id = any ($1)',
      [runIds],
    )
    // The function that was asked holds a run from its beginning, nameless.
    const isWorkers = (runId: string) => holders.find(({ run_id }) => run_id === runId)?.executor?.startsWith('worker:')
    expect(runIds.map((runId) => isWorkers(runId) ?? false)).toEqual([true, false])

    await pgTool('stop', join(folder, 'pg'))
    await expect(stack.db.query('select 1')).rejects.toThrow()
    release.resolve()
    await new Promise((resolve) => setTimeout(resolve, 500))
    await pgTool('start', join(folder, 'pg'), String(port))
    await stream.rest().catch(() => []) // it may have been cut

    for (const runId of runIds) {
      const { id, ...run } = await eventually(async () => {
        const standing = await standingOf(stack, runId)
        expect(['completed', 'failed', 'cancelled']).toContain(standing['status'])
        return standing
      }, 60_000)
      expect(run).toMatchObject({ status: 'completed', error_code: null })
      const rows = await stack.db.query<{ seq: number; payload: Json }>(
        'select seq, payload from ai.run_events where run_id = $1 order by seq',
        [id],
      )
      const events = rows.map(({ seq, payload }) => ({ ...payload, seq }))
      expectWhole(events)
      expect(run['content']).toBe('Step one. \n\nStep two. \n\nStep three. \n\nAll three are counted.')
      for (const kind of ['tool_call', 'tool_result']) {
        const ids = (events as Json[]).filter(({ event }) => event === kind).map((event) => event['call_id'])
        expect(ids, kind).toHaveLength(CALLS)
        expect(new Set(ids).size, kind).toBe(CALLS)
      }
      expect(effects.filter((key) => key.startsWith(runId))).toHaveLength(CALLS)
    }
  })
})
