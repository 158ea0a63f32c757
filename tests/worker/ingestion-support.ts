import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { extname } from 'node:path'
import process from 'node:process'
import { createInterface } from 'node:readline'
import type { SupabaseClient } from '@supabase/supabase-js'
import { objectStoreFromEnv } from '../../supabase/functions/_shared/object-store.ts'
import { eventually } from '../support/eventually.ts'
import type { TestStack } from '../support/stack.ts'

/** A line of the worker's log. */
export type LogLine = { event: string; level: string } & Record<string, unknown>

export type WorkerUnderTest = {
  pid: number
  lines: LogLine[]
  /** Everything it printed, as it stands. */
  output: () => string
  /** Ends it as a crash does. */
  kill(): Promise<void>
  /** Asks it to stop, and returns its exit code. */
  terminate(): Promise<number | null>
}

/** Short times, so that a test does not wait for those of a real installation. */
const QUICK = {
  WORKER_LEASE_SECONDS: '2',
  WORKER_SWEEP_SECONDS: '1',
  WORKER_SUPERVISE_SECONDS: '1',
  WORKER_POLL_SECONDS: '0.5',
  WORKER_STOP_GRACE_MS: '300',
}

/** Runs `worker/main.ts` on a stack, in a process of its own. Resolves when it takes jobs. */
export async function spawnWorker(stack: TestStack, env: Record<string, string> = {}): Promise<WorkerUnderTest> {
  const child = spawn(process.execPath, ['worker/main.ts'], {
    env: { PATH: process.env['PATH'] ?? '', ...stack.stack.workerEnv, ...QUICK, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  const lines: LogLine[] = []
  let output = ''
  createInterface({ input: child.stdout }).on('line', (line) => {
    output += `${line}\n`
    lines.push(JSON.parse(line) as LogLine)
  })
  child.stderr.on('data', (data: Buffer) => (output += String(data)))
  try {
    await eventually(() => {
      if (child.exitCode !== null) throw new Error(`The worker did not start:\n${output}`)
      if (!lines.some(({ event }) => event === 'worker_started')) throw new Error(`The worker is not ready:\n${output}`)
    }, 40_000)
  } catch (error) {
    // Nobody else knows of it; it would take the work of other tests.
    child.kill('SIGKILL')
    throw error
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exited
    return child.exitCode
  }
  return {
    pid: child.pid as number,
    lines,
    output: () => output,
    kill: async () => void (await end('SIGKILL')),
    terminate: () => end('SIGTERM'),
  }
}

/** Makes the queue notice dead workers and retry after seconds instead of minutes. The API of pg-boss has higher minimums. */
export async function hurryQueues(stack: TestStack, retryLimit = 4): Promise<void> {
  await stack.db.query(
    `update pgboss.queue set heartbeat_seconds = 2, retry_delay = 1, retry_delay_max = 2, retry_limit = $1
     where name in ('extract_source', 'index_source')`,
    [retryLimit],
  )
}

export type Uploaded = { id: string; storagePath: string; indexedSourceId: string | null }

/** The default knowledge base of the signed-in user's tenant. */
export async function knowledgeBaseOf(user: SupabaseClient): Promise<string> {
  const { data, error } = await user.schema('ai').from('knowledge_bases').select('id').eq('is_default', true).single()
  if (error) throw new Error(error.message)
  return (data as { id: string }).id
}

/**
 * Uploads a document as the functions do: row, bytes, completion. With a knowledge base it is indexed by itself afterwards.
 * `stored` puts other bytes than the announced ones, or none with null.
 */
export async function upload(
  stack: TestStack,
  user: SupabaseClient,
  name: string,
  bytes: Uint8Array,
  {
    knowledgeBaseId,
    stored = bytes,
    visibility = 'tenant',
  }: { knowledgeBaseId?: string; stored?: Uint8Array | null; visibility?: string } = {},
): Promise<Uploaded> {
  const ai = user.schema('ai')
  const sha256 = (content: Uint8Array) => createHash('sha256').update(content).digest('hex')
  const registered = await ai.rpc('register_source', {
    name,
    file_type: extname(name),
    mime_type: 'application/octet-stream',
    size_bytes: bytes.length,
    content_hash: sha256(bytes),
    visibility,
    ...(knowledgeBaseId ? { knowledge_base_ids: [knowledgeBaseId] } : {}),
  })
  if (registered.error) throw new Error(JSON.stringify(registered.error))
  const { id, storage_path: storagePath } = registered.data as { id: string; storage_path: string }
  if (stored) {
    await objectStoreFromEnv(stack.stack.env).put(storagePath, stored, {
      contentType: 'application/octet-stream',
      sha256: sha256(stored),
    })
  }
  const completed = await ai.rpc('complete_upload', { source_id: id })
  if (completed.error) throw new Error(JSON.stringify(completed.error))
  const [indexed] = await stack.db.query<{ id: string }>('select id from ai.indexed_sources where source_id = $1', [id])
  return { id, storagePath, indexedSourceId: indexed?.id ?? null }
}

export type SourceRow = {
  extraction_status: string
  error_code: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: Date | string | null
  page_count: number | null
  lease_token: string | null
}
export type IndexedRow = {
  index_status: string
  error_code: string | null
  reason_code: string | null
  error_message: string | null
  attempts: number
  next_retry_at: Date | string | null
  embedding_model: string | null
  created_at: Date | string
  stats: Record<string, number>
}

export async function sourceRow(stack: TestStack, id: string): Promise<SourceRow> {
  const [row] = await stack.db.query<SourceRow>('select * from ai.sources where id = $1', [id])
  if (!row) throw new Error('There is no such source.')
  return row
}

export async function indexedRow(stack: TestStack, id: string | null): Promise<IndexedRow> {
  const [row] = await stack.db.query<IndexedRow>('select * from ai.indexed_sources where id = $1', [id])
  if (!row) throw new Error('There is no such indexed source.')
  return row
}

export type ChunkRow = {
  chunk_index: number
  text: string
  start_char: number
  end_char: number
  meta: { pages: number[]; heading_path: string[] }
}

export const chunkRows = (stack: TestStack, sourceId: string): Promise<ChunkRow[]> =>
  stack.db.query<ChunkRow>('select * from ai.chunks where source_id = $1 order by chunk_index', [sourceId])

/** Waits until the source is extracted or has failed. */
export const extractionOf = (stack: TestStack, id: string, timeoutMs = 30_000): Promise<SourceRow> =>
  eventually(async () => {
    const row = await sourceRow(stack, id)
    if (!['extracted', 'failed', 'attention_required'].includes(row.extraction_status))
      throw new Error(JSON.stringify(row))
    return row
  }, timeoutMs)

/** Waits until the source is indexed or has failed. */
export const indexingOf = (stack: TestStack, id: string | null, timeoutMs = 30_000): Promise<IndexedRow> =>
  eventually(async () => {
    const row = await indexedRow(stack, id)
    if (!['indexed', 'failed'].includes(row.index_status)) throw new Error(JSON.stringify(row))
    return row
  }, timeoutMs)
