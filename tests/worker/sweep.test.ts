import { expect, test } from 'vitest'
import type { Ledger } from '../../supabase/functions/_shared/ledger.ts'
import type { WorkerSettings } from '../../worker/config.ts'
import { sweep } from '../../worker/jobs/sweep.ts'

const STEPS = [
  'dueIngestion',
  'dueEnrichments',
  'duePageRenderings',
  'dueSearchMaintenance',
  'sweepRunLog',
  'expireApprovals',
  'closeExpiredSearches',
  'removeStaleUploads',
] as const

/** What a job is about that is about nothing in particular. */
const NOTHING = '00000000-0000-0000-0000-000000000000'

/** Sweeps with a ledger whose calls in `broken` fail, and tells what was queued and logged. */
async function sweepWith(broken: readonly string[]) {
  const queued: unknown[] = []
  const lines: Record<string, unknown>[] = []
  const answer = <T>(name: string, value: T) =>
    broken.includes(name) ? Promise.reject(new Error(`${name} is broken`)) : Promise.resolve(value)
  const ledger = {
    dueIngestion: () =>
      answer('dueIngestion', [
        { kind: 'extraction', id: 'a' },
        { kind: 'indexing', id: 'b' },
        { kind: 'reembedding', id: 'c' },
        { kind: 'memory', id: 'd' },
      ]),
    dueEnrichments: () => answer('dueEnrichments', ['e']),
    duePageRenderings: () => answer('duePageRenderings', ['f']),
    dueSearchMaintenance: (...thresholds: unknown[]) =>
      answer('dueSearchMaintenance', JSON.stringify(thresholds) === '[40,25]'),
    sweepRunLog: () => answer('sweepRunLog', { folded: 2, removed: 1, rolled_back: 0 }),
    expireApprovals: () => answer('expireApprovals', 4),
    closeExpiredSearches: () => answer('closeExpiredSearches', 5),
    removeStaleUploads: () => answer('removeStaleUploads', 3),
    enqueue: (...job: unknown[]) => answer('enqueue', queued.push(job)),
  } as unknown as Ledger
  const write =
    (level: string) =>
    (event: string, fields: object = {}) =>
      void lines.push({ level, event, ...fields })
  const settings = { graphBuildFrom: 40, graphRetireBelow: 25, rendersPages: true } as WorkerSettings
  await sweep({ ledger, settings, log: { info: write('info'), error: write('error') } })
  return { queued, lines, events: lines.map((line) => line['event']) }
}

test('a sweep queues lost work again, tidies the logs of runs, lets approvals expire, settles searches and forgets stale uploads', async () => {
  const { queued, lines } = await sweepWith([])
  expect(queued).toEqual([
    ['extract_source', { id: 'a' }, 'a'],
    ['index_source', { id: 'b' }, 'b'],
    ['reembed_knowledge_base', { id: 'c' }, 'c'],
    ['embed_memory', { id: 'd' }, 'd'],
    ['enrich_knowledge_base', { id: 'e' }, 'e'],
    ['render_pages', { id: 'f' }, 'f'],
    ['maintain_search', { id: NOTHING }, NOTHING],
  ])
  expect(lines).toEqual([
    { level: 'info', event: 'work_requeued', kind: 'extraction', id: 'a' },
    { level: 'info', event: 'work_requeued', kind: 'indexing', id: 'b' },
    { level: 'info', event: 'work_requeued', kind: 'reembedding', id: 'c' },
    { level: 'info', event: 'work_requeued', kind: 'memory', id: 'd' },
    { level: 'info', event: 'work_requeued', kind: 'enrichment', id: 'e' },
    { level: 'info', event: 'work_requeued', kind: 'page_rendering', id: 'f' },
    { level: 'info', event: 'maintenance_queued' },
    { level: 'info', event: 'run_logs_swept', folded: 2, removed: 1, rolled_back: 0 },
    { level: 'info', event: 'approvals_expired', count: 4 },
    { level: 'info', event: 'expired_searches_closed', count: 5 },
    { level: 'info', event: 'stale_uploads_removed', count: 3 },
  ])
})

const REQUEUED = Array<string>(6).fill('work_requeued')
test.each([
  [
    'dueIngestion',
    'requeue_work',
    [
      'sweep_failed',
      'work_requeued',
      'work_requeued',
      'maintenance_queued',
      'run_logs_swept',
      'approvals_expired',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'dueEnrichments',
    'requeue_enrichments',
    [
      ...REQUEUED.slice(2),
      'sweep_failed',
      'work_requeued',
      'maintenance_queued',
      'run_logs_swept',
      'approvals_expired',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'duePageRenderings',
    'requeue_page_renderings',
    [
      ...REQUEUED.slice(1),
      'sweep_failed',
      'maintenance_queued',
      'run_logs_swept',
      'approvals_expired',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'dueSearchMaintenance',
    'queue_maintenance',
    [
      ...REQUEUED,
      'sweep_failed',
      'run_logs_swept',
      'approvals_expired',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'sweepRunLog',
    'sweep_run_log',
    [
      ...REQUEUED,
      'maintenance_queued',
      'sweep_failed',
      'approvals_expired',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'expireApprovals',
    'expire_approvals',
    [
      ...REQUEUED,
      'maintenance_queued',
      'run_logs_swept',
      'sweep_failed',
      'expired_searches_closed',
      'stale_uploads_removed',
    ],
  ],
  [
    'closeExpiredSearches',
    'close_expired_searches',
    [...REQUEUED, 'maintenance_queued', 'run_logs_swept', 'approvals_expired', 'sweep_failed', 'stale_uploads_removed'],
  ],
  [
    'removeStaleUploads',
    'remove_stale_uploads',
    [
      ...REQUEUED,
      'maintenance_queued',
      'run_logs_swept',
      'approvals_expired',
      'expired_searches_closed',
      'sweep_failed',
    ],
  ],
])('when %s fails, that is logged and the other steps are done', async (broken, step, expected) => {
  const { lines, events } = await sweepWith([broken])
  expect(events).toEqual(expected)
  expect(lines.find((line) => line['event'] === 'sweep_failed')).toMatchObject({
    level: 'error',
    step,
    error: expect.stringContaining(`${broken} is broken`),
  })
})

test('when all fail, each is logged and the sweep ends', async () => {
  expect((await sweepWith(STEPS)).events).toEqual(STEPS.map(() => 'sweep_failed'))
})

test('when nothing can be queued, the steps that queue say so', async () => {
  expect((await sweepWith(['enqueue'])).events).toEqual([
    'sweep_failed',
    'sweep_failed',
    'sweep_failed',
    'sweep_failed',
    'run_logs_swept',
    'approvals_expired',
    'expired_searches_closed',
    'stale_uploads_removed',
  ])
})
