import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { strToU8 } from 'fflate'
import { beforeAll, describe, expect, test } from 'vitest'
import type { SupabaseClient } from '@supabase/supabase-js'
import { serviceCaller, userCaller } from '../functions/support/http.ts'
import type { FunctionsCaller, Json } from '../functions/support/http.ts'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { endlessForms, makeDocx, plainPdf, zipBomb } from './bombs.ts'
import { makePptx, makeXlsx, paragraph, shape, textCell, TITLE } from './office.ts'
import { indexedRow, knowledgeBaseOf, sourceRow, upload } from './ingestion-support.ts'

// Documents on a stack without a worker: the function `worker` alone reads and indexes them, called as pg_cron would.

const EDGE = join(fileURLToPath(new URL('../..', import.meta.url)), 'node_modules/deno-edge-linux-x64/deno')
const RUNTIMES: [string, string | undefined][] = [
  ['the current Deno', process.env['DENO_BIN']],
  ...(existsSync(EDGE) ? [['Deno 2.1.4', EDGE] as [string, string]] : []),
]
if (!existsSync(EDGE)) console.log('Left out: Deno 2.1.4, which is installed on linux-x64 only.')
const MAX_BYTES = 200_000

describe.each(RUNTIMES)('on %s', (_, denoBin) => {
  const stack = useStack({ functions: 'on-demand', denoBin, userEnv: { WORKER_FUNCTION_MAX_BYTES: String(MAX_BYTES) } })
  let user: SupabaseClient
  let member: FunctionsCaller
  let knowledgeBaseId: string
  beforeAll(async () => {
    user = await stack.signIn('owner@harbor.example')
    member = await userCaller(stack, 'member@harbor.example')
    knowledgeBaseId = await knowledgeBaseOf(user)
    // They would be embedded, too.
    await stack.db.exec(`delete from public.memories; delete from pgboss.job where name = 'embed_memory'`)
  })
  const drain = (): Promise<Json> => serviceCaller(stack).json(200, 'POST', '/worker?wait=true')
  const give = (name: string, bytes: Uint8Array) => upload(stack, user, name, bytes, { knowledgeBaseId })
  const jobs = () =>
    stack.db.query<Json>(
      `select name, state::text as state, data ->> 'id' as id, retry_count from pgboss.job where name <> 'remove_object'`,
    )

  test('documents become searchable by calling the function, and end with their reason where they cannot', async () => {
    const documents = await Promise.all([
      give('plain.pdf', plainPdf(3)),
      give(
        'page.html',
        strToU8('<!doctype html><html><body><h1>Quay</h1><p>The zephyrine crane lifts.</p></body></html>'),
      ),
      give('table.csv', strToU8('berth,length\n12,zephyrine\n14,long\n')),
      give(
        'letter.docx',
        makeDocx('<w:document><w:body><w:p><w:r><w:t>A zephyrine letter.</w:t></w:r></w:p></w:body></w:document>'),
      ),
      give(
        'figures.xlsx',
        makeXlsx({ sheets: [{ name: 'Quay', rows: `<row>${textCell('A1', 'A zephyrine figure')}</row>` }] }),
      ),
      give('talk.pptx', makePptx([{ shapes: shape(paragraph('Zephyrine quays'), TITLE), notes: 'Wait here.' }])),
      give('notes.md', strToU8('# Notes\n\nA zephyrine wind blows.\n')),
    ])
    const broken = await give('broken.pdf', strToU8('%PDF-1.7\nthis is not a PDF\n'))
    const bomb = await give('bomb.docx', zipBomb(80))
    const large = await give('large.txt', strToU8('Many words. '.repeat(MAX_BYTES / 10)))
    expect((await sourceRow(stack, documents[0]!.id)).extraction_status).toBe('pending')

    const report = await drain()
    expect(report).toMatchObject({ failed: [], is_empty: true })
    for (const { id, indexedSourceId } of documents) {
      expect(await sourceRow(stack, id)).toMatchObject({ extraction_status: 'extracted', error_code: null })
      expect(await indexedRow(stack, indexedSourceId)).toMatchObject({ index_status: 'indexed', error_code: null })
    }
    expect((await sourceRow(stack, documents[0]!.id)).page_count).toBe(3)
    const found = await member.json(200, 'POST', '/search', { json: { query: 'zephyrine', top_k: 10 } })
    const sources = new Set((found['results'] as Json[]).map((result) => result['source_id']))
    for (const { id } of documents.slice(1)) expect(sources).toContain(id)

    expect(await sourceRow(stack, broken.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'corrupt_document',
    })
    expect(await sourceRow(stack, bomb.id)).toMatchObject({
      extraction_status: 'failed',
      reason_code: 'limit_exceeded',
    })
    // What is too large for it waits for a worker, and is not tried.
    expect(await sourceRow(stack, large.id)).toMatchObject({ extraction_status: 'pending', attempts: 0 })
    expect(await jobs()).toEqual([{ name: 'extract_source', state: 'created', id: large.id, retry_count: 0 }])
    await stack.db.query('delete from pgboss.job')
    await stack.db.query('delete from ai.sources where id = $1', [large.id])
  })

  test.skipIf(process.platform !== 'linux')(
    'a document that its reader does not survive is not read again, and holds up nobody',
    async () => {
      const hostile = await give('forms.pdf', endlessForms(10, 20))
      await serviceCaller(stack).json(202, 'POST', '/worker')
      await eventually(async () => expect((await sourceRow(stack, hostile.id)).extraction_status).toBe('extracting'))
      const other = await give('other.md', strToU8('# Other\n\nA later document.\n'))
      // As the platform does with a function that takes too much.
      const reader = childrenOf(process.pid).find((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('functions/worker/index.ts')
        } catch {
          return false // it has ended
        }
      })
      process.kill(reader!, 'SIGKILL')
      await stack.db.query(`update ai.sources set lease_expires_at = now() - interval '1 s' where id = $1`, [
        hostile.id,
      ])
      await stack.db.query(
        `update pgboss.job set heartbeat_on = now() - interval '1 min' where state = 'active' and name = 'extract_source'`,
      )
      await eventually(async () => {
        await stack.db.query(`update pgboss.job set start_after = now() where state = 'retry'`)
        await drain()
        expect((await sourceRow(stack, hostile.id)).extraction_status).toBe('failed')
        // The sweep may have queued it beside the job that had lost its reader; the second one finds nothing to do.
        expect(await jobs()).toEqual([])
      })
      expect(await sourceRow(stack, hostile.id)).toMatchObject({ reason_code: 'limit_exceeded', attempts: 2 })
      expect(await indexedRow(stack, other.indexedSourceId)).toMatchObject({ index_status: 'indexed' })
    },
  )
})
