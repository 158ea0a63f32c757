import { pause } from '../_shared/agent/abort.ts'
import type { EnrichmentDeps } from '../_shared/enrichment/carry-out.ts'
import { enrichKnowledgeBase, noteDeadEnrichment } from '../_shared/enrichment/job.ts'
import { describeError, type PlainLog } from '../_shared/errors.ts'
import type { Delivery, IngestionContext } from '../_shared/ingestion/context.ts'
import { WorkerStoppedError } from '../_shared/ingestion/failures.ts'
import { markDeadLetter, retryRemoval } from '../_shared/ingestion/jobs/dead-letters.ts'
import { embedMemory } from '../_shared/ingestion/jobs/embed-memory.ts'
import { extractSource } from '../_shared/ingestion/jobs/extract-source.ts'
import { indexSource } from '../_shared/ingestion/jobs/index-source.ts'
import { reembedKnowledgeBase } from '../_shared/ingestion/jobs/reembed-knowledge-base.ts'
import { removeObject } from '../_shared/ingestion/jobs/remove-object.ts'
import type { Ledger } from '../_shared/ledger.ts'
import type { TakenJob } from '../_shared/queue-ledger.ts'

/** What the ingestion needs, and the largest object that is read here, in bytes. */
export type Ingestion = { context: IngestionContext; maxBytes: number }

/** What every job gets from outside. */
export type Chores = { ledger: Ledger; log: PlainLog }

/** A queue and what is done with its jobs. */
export type Queue<Context = IngestionContext> = {
  queue: string
  handle: (context: Context, delivery: Delivery) => Promise<void>
  /** Jobs worked on at once. Documents are read one by one: the memory is theirs, and if the process dies it is known of which. */
  atOnce: number
  /** Its jobs may take all the time there is: rounds go on beside them. */
  isLong?: boolean
}

/** The worker's queues of the ingestion, in the order in which a round looks at them. Upkeep of the search index takes a database connection of its own. */
const QUEUES: Queue[] = [
  { queue: 'extract_source', handle: extractSource, atOnce: 1 },
  { queue: 'index_source', handle: indexSource, atOnce: 2 },
  { queue: 'embed_memory', handle: embedMemory, atOnce: 8 },
  { queue: 'reembed_knowledge_base', handle: reembedKnowledgeBase, atOnce: 1, isLong: true },
  { queue: 'remove_object', handle: removeObject, atOnce: 4 },
  { queue: 'extract_source_dead', handle: markDeadLetter('extraction'), atOnce: 4 },
  { queue: 'index_source_dead', handle: markDeadLetter('indexing'), atOnce: 4 },
  { queue: 'reembed_knowledge_base_dead', handle: markDeadLetter('reembedding'), atOnce: 4 },
  { queue: 'remove_object_dead', handle: retryRemoval, atOnce: 1 },
]
/** Enriching acts for people, as runs do. Few documents at a time: a call of the function ends soon. */
export const enrichmentQueues = (deps: EnrichmentDeps): Queue[] => [
  {
    queue: 'enrich_knowledge_base',
    handle: enrichKnowledgeBase(deps, { atOnce: 4, most: 8 }),
    atOnce: 1,
    isLong: true,
  },
  { queue: 'enrich_knowledge_base_dead', handle: noteDeadEnrichment, atOnce: 4 },
]
/** Less than half of the shortest heartbeat. */
const BEAT_MS = 4_000
/** How soon it is looked for more beside long jobs. */
const LOOK_MS = 5_000
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/** Calls that overlap may share a process. */
let isBusy = false

/** Longest wait of one timer. */
const MAX_WAIT_MS = 2 ** 31 - 1

/**
 * Works on the jobs of the ingestion. What is not finished when it is `until` (milliseconds since 1970) goes on in a later call,
 * where it was left if it can.
 */
export async function workOnJobs(
  { context, maxBytes }: Ingestion,
  until: number,
  more: readonly Queue[] = [],
): Promise<{ jobs: number; isEmpty: boolean }> {
  if (isBusy) return { jobs: 0, isEmpty: true }
  isBusy = true
  try {
    return await workOnQueues(context, [...QUEUES, ...more], until, maxBytes)
  } finally {
    isBusy = false
  }
}

/**
 * Works on the jobs of queues, round by round in their order, until there are none or it is `until` (milliseconds since 1970).
 * What is not finished by then is put back.
 * @returns how many were worked on, and whether none is left.
 */
export async function workOnQueues<Context extends Chores>(
  context: Context,
  queues: readonly Queue<Context>[],
  until: number,
  maxBytes: number | null = null,
): Promise<{ jobs: number; isEmpty: boolean }> {
  const { ledger, log } = context
  const held = new Set<string>()
  const timeIsUp = new AbortController()
  const stop = () => timeIsUp.abort(new WorkerStoppedError('The time of this call is up.'))
  const timer = setTimeout(stop, Math.min(Math.max(until - Date.now(), 0), MAX_WAIT_MS))
  const beat = setInterval(() => {
    if (held.size === 0) return
    ledger.beatJobs([...held]).catch((error: unknown) => log.error('beat_failed', { error: describeError(error) }))
  }, BEAT_MS)

  async function workOn(job: TakenJob, handle: Queue<Context>['handle']): Promise<void> {
    held.add(job.id)
    try {
      if (job.subject === null || !UUID.test(job.subject)) {
        log.error('malformed_job', { job_id: job.id, queue: job.queue })
        await ledger.finishJob(job, true)
        return
      }
      const retryAt = () => (job.retry_seconds === null ? null : new Date(Date.now() + job.retry_seconds * 1000))
      let failed = false
      try {
        await handle(context, { id: job.subject, jobId: job.id, signal: timeIsUp.signal, retryAt })
      } catch (error) {
        failed = true
        if (!timeIsUp.signal.aborted) log.error('job_failed', { job_id: job.id, error: describeError(error) })
      }
      // That the time was up says nothing about the work: it gets a job with all its attempts.
      const putBack = failed && timeIsUp.signal.aborted
      await ledger.finishJob(job, !failed || putBack)
      if (putBack) await ledger.enqueue(job.queue, { id: job.subject }, job.subject)
    } finally {
      held.delete(job.id)
    }
  }

  /** Long jobs under way, by queue; and what failed when one of them was to be settled. */
  const beside = new Map<string, Promise<void>>()
  const unsettled: unknown[] = []
  let jobs = 0

  /** Takes jobs of a queue and works on them. @returns whether there may be more. */
  async function workOnSome({ queue, handle, atOnce, isLong = false }: Queue<Context>): Promise<boolean> {
    if (beside.has(queue)) return true
    const taken = await ledger.takeJobs(queue, atOnce, maxBytes)
    if (taken.length === 0) return false
    jobs += taken.length
    const done = Promise.all(taken.map((job) => workOn(job, handle)))
    if (isLong) {
      const ended = done.catch((error: unknown) => unsettled.push(error)).finally(() => beside.delete(queue))
      beside.set(
        queue,
        ended.then(() => {}),
      )
    } else await done
    return true
  }

  /** One round. @returns whether nothing is left to be done. */
  async function goRound(): Promise<boolean> {
    let isEmpty = true
    for (const queue of queues) {
      if (timeIsUp.signal.aborted) return false
      if (await workOnSome(queue)) isEmpty = false
    }
    return isEmpty
  }

  try {
    let isEmpty = false
    while (!isEmpty && !timeIsUp.signal.aborted && unsettled.length === 0) {
      const before = jobs
      isEmpty = await goRound()
      // All there is to do goes on already.
      if (jobs === before && beside.size > 0)
        await Promise.race([...beside.values(), pause(LOOK_MS, timeIsUp.signal).catch(() => {})])
    }
    await Promise.all(beside.values())
    if (unsettled.length > 0) throw unsettled[0]
    return { jobs, isEmpty }
  } finally {
    await Promise.all(beside.values())
    clearTimeout(timer)
    clearInterval(beat)
  }
}
