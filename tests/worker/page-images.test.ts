import { createHash, randomBytes } from 'node:crypto'
import type { SupabaseClient } from '@supabase/supabase-js'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { removeObject } from '../../supabase/functions/_shared/ingestion/jobs/remove-object.ts'
import type { PageRenderingClaim } from '../../supabase/functions/_shared/page-images-ledger.ts'
import { DEFAULT_RENDER_LIMITS } from '../../worker/extract/render-limits.ts'
import { workerSettings } from '../../worker/config.ts'
import { renderPages } from '../../worker/jobs/render-pages.ts'
import { eventually } from '../support/eventually.ts'
import { useStack } from '../support/stack.ts'
import { plainPdf } from './bombs.ts'
import { startGate, type Gate } from './gate.ts'
import { hurryQueues, sourceRow, spawnWorker, upload, type WorkerUnderTest } from './ingestion-support.ts'
import { killCases } from './kill-points.ts'

const stack = useStack()
let user: SupabaseClient
let gate: Gate
const workers: WorkerUnderTest[] = []
const start = async (env: Record<string, string> = {}) => {
  const worker = await spawnWorker(stack, { PAGE_IMAGES: 'on', PAGE_IMAGE_DPI: '36', ...env })
  workers.push(worker)
  return worker
}

beforeAll(async () => {
  await hurryQueues(stack)
  await stack.db.exec(
    `update pgboss.queue set heartbeat_seconds = 2, retry_delay = 1, retry_delay_max = 2 where name = 'render_pages'`,
  )
  // They would be embedded, too.
  await stack.db.exec('delete from public.memories')
  user = await stack.signIn('owner@harbor.example')
  gate = await startGate(stack.url)
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.kill()))
})
afterAll(async () => {
  await gate.stop()
})

const PAGES = 3
/** A PDF of three pages that no other test has uploaded. */
const freshPdf = (pages = PAGES) =>
  new Uint8Array(Buffer.concat([plainPdf(pages), Buffer.from(`\n% ${randomBytes(8).toString('hex')}\n`)]))

type Listed = { storage_path: string; page: number }
type Row = { derivatives: { image: Listed[] }; auto_metadata: { page_images?: { status: string } } }

async function rowOf(id: string): Promise<Row> {
  const { data, error } = await user
    .schema('ai')
    .from('sources')
    .select('derivatives,auto_metadata')
    .eq('id', id)
    .single()
  if (error) throw new Error(error.message)
  return data as Row
}
/** Waits until drawing has ended so, and returns what is listed then. */
const drawn = (id: string, status = 'rendered', not: string[] = []): Promise<Listed[]> =>
  eventually(async () => {
    const { derivatives, auto_metadata } = await rowOf(id)
    expect(auto_metadata.page_images).toMatchObject({ status })
    expect(not).not.toContain(derivatives.image[0]?.storage_path)
    return derivatives.image
  }, 30_000)

/** Objects below the folder of a source, as the store of this stack knows them. */
const imagesStored = async (id: string): Promise<string[]> =>
  (
    await stack.db.query<{ name: string }>(
      `select name from storage.objects where bucket_id = 'sources' and name like '%' || $1 || '/pages/%' order by name`,
      [id],
    )
  ).map(({ name }) => name)

/** What is stored and not listed is queued to be removed, and what is listed is not. */
async function expectOnly(id: string, listed: Listed[]): Promise<void> {
  const removed = (
    await stack.db.query<{ key: string }>(
      `select unnest(array[removals.storage_path] || removals.more_paths) as key
       from private.object_removals as removals
       join pgboss.job on job.name = 'remove_object' and job.data ->> 'id' = removals.id::text`,
    )
  ).map(({ key }) => key)
  const kept = (await imagesStored(id)).filter((key) => !removed.includes(key))
  expect(kept).toEqual(listed.map(({ storage_path }) => storage_path).sort())
}

describe('images of pages', () => {
  test('come after the text, are replaced when it is extracted again, and go with the source', async () => {
    await start()
    const { id } = await upload(stack, user, 'pages.pdf', freshPdf())
    const images = await drawn(id)
    expect(images.map(({ page }) => page)).toEqual([1, 2, 3])
    expect(await imagesStored(id)).toEqual(images.map(({ storage_path }) => storage_path))
    expect(await sourceRow(stack, id)).toMatchObject({ extraction_status: 'extracted', attempts: 1 })

    const { error } = await user.schema('ai').rpc('reextract_source', { source_id: id })
    expect(error).toBeNull()
    const others = await drawn(
      id,
      'rendered',
      images.map(({ storage_path }) => storage_path),
    )
    expect(others).toHaveLength(PAGES)
    await expectOnly(id, others)

    expect((await user.schema('ai').from('sources').delete().eq('id', id)).error).toBeNull()
    await expectOnly(id, [])
  })
})

test('are made where they are asked for, as finely as is said', () => {
  const settings = (env: Record<string, string>) => workerSettings({ DATABASE_URL: 'postgres://x', ...env })
  expect(settings({})).toMatchObject({ rendersPages: false, renderLimits: { dpi: 100, maxPages: 200 } })
  const set = { PAGE_IMAGES: 'on', PAGE_IMAGE_DPI: '150', PAGE_IMAGE_MAX_PAGES: '7' }
  expect(settings(set)).toMatchObject({ rendersPages: true, renderLimits: { dpi: 150, maxPages: 7 } })
  for (const wrong of [
    { PAGE_IMAGES: 'yes' },
    { PAGE_IMAGE_DPI: '20' },
    { PAGE_IMAGE_DPI: '1200' },
    { PAGE_IMAGE_MAX_PAGES: '0' },
  ]) {
    expect(() => settings(wrong)).toThrow(Object.keys(wrong)[0])
  }
})

describe('kill -9 of the worker, and another one', () => {
  const cases = killCases([
    { name: 'finish_page_rendering', when: 'with all images stored', nth: 1, written: [false] },
    { name: 'claim_page_rendering', when: 'as it takes the pages', nth: 1, written: [] },
  ])
  test.each(cases)('$when, $name: they are listed once', { timeout: 60_000 }, async ({ name, written }) => {
    const doomed = await start({ SUPABASE_URL: gate.url })
    const stopped = gate.hold(name)
    const { id } = await upload(stack, user, 'killed.pdf', freshPdf())
    const held = await stopped
    if (written) await held.letThrough()
    else expect((await rowOf(id)).derivatives.image).toEqual([])
    await doomed.kill()
    // As after the seconds in which it is found out.
    await stack.db.exec(
      `update private.page_renderings set lease_expires_at = now() where status = 'rendering';
       update pgboss.job set heartbeat_on = now() - interval '1 min' where state = 'active'`,
    )
    await start()
    const images = await drawn(id)
    expect(images).toHaveLength(PAGES)
    await expectOnly(id, images)
  })
})

test('a removal is of all its objects', async () => {
  const removed: string[] = []
  let finished = false
  const context = {
    ledger: {
      claimObjectRemoval: () => Promise.resolve({ storage_path: '1.png', more_paths: ['2.png', '3.png'] }),
      finishObjectRemoval: () => Promise.resolve((finished = removed.length === 3)),
    },
    store: { delete: (key: string) => Promise.resolve(removed.push(key)) },
    log: { info: () => {} },
  } as unknown as Parameters<typeof removeObject>[0]
  await removeObject(context, { id: 'x', jobId: 'x', signal: new AbortController().signal, retryAt: () => null })
  expect([removed, finished]).toEqual([['1.png', '2.png', '3.png'], true])
})

describe('an attempt', () => {
  const claim: PageRenderingClaim = {
    lease_token: 'lease',
    source_id: 'source',
    tenant_id: 'tenant',
    size_bytes: 0,
    content_hash: '',
    storage_path: 'original',
    image_paths: ['1.png', '2.png', '3.png'],
    attempts: 1,
  }
  /** Carries one out over a store in memory. */
  async function attempt(finished: () => Promise<boolean>, refused: string[] = [], bytes = freshPdf()) {
    const objects = new Map([['original', bytes]])
    const failures: unknown[] = []
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const context = {
      ledger: {
        claimPageRendering: () => Promise.resolve({ ...claim, size_bytes: bytes.length, content_hash: sha256 }),
        renewPageRenderingLease: () => Promise.resolve(true),
        finishPageRendering: finished,
        failPageRendering: (_: unknown, failure: unknown) => Promise.resolve(failures.push(failure) > 0),
      },
      store: {
        get: (key: string) => Promise.resolve({ stream: [objects.get(key)!], sizeBytes: null }),
        put: (key: string, content: Uint8Array) =>
          refused.includes(key)
            ? Promise.reject(Object.assign(new Error('busy'), { code: 'ECONNREFUSED' }))
            : Promise.resolve(void objects.set(key, new Uint8Array(content))),
        delete: (key: string) => Promise.resolve(void objects.delete(key)),
      },
      settings: { name: 'test', leaseSeconds: 30, maxAttempts: 10 },
      log: { info: () => {}, error: () => {} },
    } as unknown as Parameters<ReturnType<typeof renderPages>>[0]
    const delivery = { id: 'source', jobId: 'job', signal: new AbortController().signal, retryAt: () => null }
    const outcome = await renderPages({ ...DEFAULT_RENDER_LIMITS, dpi: 36 })(context, delivery).then(
      () => 'settled',
      () => 'to be repeated',
    )
    return { outcome, stored: [...objects.keys()], failures }
  }

  test('that has lost its lease takes along what it has stored', async () => {
    expect(await attempt(() => Promise.resolve(false))).toEqual({
      outcome: 'settled',
      stored: ['original'],
      failures: [],
    })
  })

  test('that does not know whether it has listed its images leaves them', async () => {
    const { outcome, stored } = await attempt(() => Promise.reject(Object.assign(new Error(), { code: 'ECONNRESET' })))
    expect([outcome, stored]).toEqual(['to be repeated', ['original', '1.png', '2.png', '3.png']])
  })

  test('whose store refuses an image is repeated', async () => {
    const { outcome, failures } = await attempt(() => Promise.resolve(true), ['2.png'])
    expect([outcome, failures]).toEqual(['to be repeated', [{ status: 'pending', reasonCode: 'service_unavailable' }]])
  })

  test('at what cannot be drawn ends, with the reason', async () => {
    const broken = new TextEncoder().encode('no PDF')
    expect(await attempt(() => Promise.resolve(true), [], broken)).toEqual({
      outcome: 'settled',
      stored: ['original'],
      failures: [{ status: 'failed', reasonCode: 'corrupt_document' }],
    })
  })
})
