import { setTimeout as wait } from 'node:timers/promises'
import { describeError } from '../supabase/functions/_shared/errors.ts'
import { WorkerStoppedError } from '../supabase/functions/_shared/ingestion/failures.ts'
import type { JobContext } from './jobs/context.ts'
import {
  markDeadLetter,
  noteDeadLetter,
  retryRemoval,
} from '../supabase/functions/_shared/ingestion/jobs/dead-letters.ts'
import { embedMemory } from '../supabase/functions/_shared/ingestion/jobs/embed-memory.ts'
import { enrichKnowledgeBase, noteDeadEnrichment } from '../supabase/functions/_shared/enrichment/job.ts'
import { extractSource } from '../supabase/functions/_shared/ingestion/jobs/extract-source.ts'
import { fireSchedule } from './jobs/fire-schedule.ts'
import { indexSource } from '../supabase/functions/_shared/ingestion/jobs/index-source.ts'
import { maintainSearch } from './jobs/maintain-search.ts'
import { reembedKnowledgeBase } from '../supabase/functions/_shared/ingestion/jobs/reembed-knowledge-base.ts'
import { removeObject } from '../supabase/functions/_shared/ingestion/jobs/remove-object.ts'
import { noteDeadRendering, renderPages } from './jobs/render-pages.ts'
import { runAgent } from './jobs/run-agent.ts'
import { queueSweeps, sweep } from './jobs/sweep.ts'
import { createAdaptivePlaces } from './adaptive-places.ts'
import { startRunExecutor } from './run-executor.ts'
import { startQueue, type QueueHandler, type Subscription } from './queue.ts'

/** Documents whose pages are drawn at once: one of a tenant, and one place for another. Each takes a processor for itself. */
const RENDERED_AT_ONCE = 2

/** Knowledge bases embedded anew at once: one of a tenant, and one place for another. Each may take hours. */
const REEMBEDDED_AT_ONCE = 2

/** Word of a tenant's first run comes behind one job each of those that have many; so it is among the first that are fetched. */
const RUN_JOBS_AT_ONCE = 20

/** Schedules fired one after the other before it is said which are done. */
const SCHEDULES_AT_ONCE = 20

/** Few enough to leave some to other workers, and asked for now and then: their queueing sends word. */
const SWEEPS_AT_ONCE = 4
const SWEEP_POLL_SECONDS = 10

export type Worker = {
  /** Takes no more work, lets what runs finish within the grace period, hands back the rest, and disconnects. */
  stop(): Promise<void>
}

/** Starts the ingestion worker. Resolves when it is connected and takes jobs. */
export async function startWorker(context: JobContext): Promise<Worker> {
  const { log, settings } = context
  const stopping = new AbortController()
  let accepting = true
  const running = new Set<Promise<void>>()

  /** Keeps count of what runs, so that a stop can wait for it. */
  const bind =
    (job: (context: JobContext, delivery: Parameters<QueueHandler>[0]) => Promise<void>): QueueHandler =>
    async (delivery) => {
      if (!accepting) throw new WorkerStoppedError('The worker is stopping.')
      const work = job(context, delivery)
      running.add(work)
      try {
        await work
      } finally {
        running.delete(work)
      }
    }
  // One place more than one tenant may fill by default, so that work of another finds one free.
  const concurrency = settings.concurrency + 1
  const limits = await queueLimits(context)
  const subscriptions: Subscription[] = [
    {
      queue: 'extract_source',
      concurrency,
      tenantLimit: limits['extract_source'],
      isUrgent: true,
      handle: bind(extractSource),
    },
    {
      queue: 'index_source',
      concurrency,
      tenantLimit: limits['index_source'],
      isUrgent: true,
      handle: bind(indexSource),
    },
    {
      queue: 'embed_memory',
      concurrency,
      tenantLimit: limits['embed_memory'],
      isUrgent: true,
      handle: bind(embedMemory),
    },
    {
      queue: 'reembed_knowledge_base',
      concurrency: REEMBEDDED_AT_ONCE,
      tenantLimit: limits['reembed_knowledge_base'],
      isUrgent: true,
      handle: bind(reembedKnowledgeBase),
    },
    { queue: 'maintain_search', concurrency: 1, isUrgent: true, handle: bind(maintainSearch) },
    {
      queue: 'fire_schedule',
      concurrency: 1,
      isUrgent: true,
      // Nobody sends word when a time has come.
      pollSeconds: settings.scheduleSeconds,
      batch: SCHEDULES_AT_ONCE,
      goesOn: true,
      handle: bind(fireSchedule),
    },
    {
      queue: 'sweep',
      concurrency: 1,
      isUrgent: false,
      pollSeconds: Math.min(settings.sweepSeconds, SWEEP_POLL_SECONDS),
      batch: SWEEPS_AT_ONCE,
      goesOn: true,
      handle: bind(sweep),
    },
    { queue: 'remove_object', concurrency: 1, isUrgent: false, handle: bind(removeObject) },
    { queue: 'extract_source_dead', concurrency: 1, isUrgent: false, handle: bind(markDeadLetter('extraction')) },
    { queue: 'index_source_dead', concurrency: 1, isUrgent: false, handle: bind(markDeadLetter('indexing')) },
    {
      queue: 'reembed_knowledge_base_dead',
      concurrency: 1,
      isUrgent: false,
      handle: bind(markDeadLetter('reembedding')),
    },
    { queue: 'remove_object_dead', concurrency: 1, isUrgent: false, handle: bind(retryRemoval) },
    { queue: 'run_agent_dead', concurrency: 1, isUrgent: false, handle: bind(noteDeadLetter('run')) },
    { queue: 'fire_schedule_dead', concurrency: 1, isUrgent: false, handle: bind(noteDeadLetter('schedule')) },
    { queue: 'sweep_dead', concurrency: 1, isUrgent: false, handle: bind(noteDeadLetter('sweep')) },
    { queue: 'enrich_knowledge_base_dead', concurrency: 1, isUrgent: false, handle: bind(noteDeadEnrichment) },
    { queue: 'render_pages_dead', concurrency: 1, isUrgent: false, handle: bind(noteDeadRendering) },
  ]
  const executor =
    context.runs &&
    startRunExecutor({
      deps: context.runs,
      places: settings.runConcurrency,
      hasSpare: true,
      adaptive: settings.runAdaptive ? createAdaptivePlaces(settings.runConcurrency, () => performance.now()) : null,
      lookMs: settings.runSeconds * 1000,
      log,
    })
  if (executor)
    subscriptions.push({
      queue: 'run_agent',
      concurrency: 1,
      isUrgent: true,
      batch: RUN_JOBS_AT_ONCE,
      handle: bind(runAgent(executor)),
    })
  if (settings.rendersPages)
    subscriptions.push({
      queue: 'render_pages',
      concurrency: RENDERED_AT_ONCE,
      tenantLimit: limits['render_pages'],
      isUrgent: true,
      handle: bind(renderPages(settings.renderLimits)),
    })
  // It acts for people, as runs do.
  if (context.runs)
    subscriptions.push({
      queue: 'enrich_knowledge_base',
      concurrency,
      tenantLimit: limits['enrich_knowledge_base'],
      isUrgent: true,
      handle: bind(enrichKnowledgeBase(context.runs)),
    })
  const queue = await startQueue(settings, subscriptions, stopping.signal, log)
  const repeating = repeatEvery(settings.sweepSeconds, () => queueSweeps(context))
  log.info('worker_started', {
    concurrency: settings.concurrency,
    embedding_model: context.embedder.model,
    lease_seconds: settings.leaseSeconds,
  })

  return {
    async stop() {
      accepting = false
      await queue.pause()
      log.info('worker_stopping', { running: running.size })
      const runsEnded = executor?.stop(settings.stopGraceMs)
      const grace = new AbortController()
      await Promise.race([
        Promise.allSettled(running),
        wait(settings.stopGraceMs, undefined, { signal: grace.signal }).catch(() => undefined),
      ])
      grace.abort()
      stopping.abort(new WorkerStoppedError('The worker is stopping.'))
      await Promise.allSettled(running)
      await runsEnded
      await repeating
      await queue.stop()
      log.info('worker_stopped')
    },
  }

  async function repeatEvery(seconds: number, work: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await work()
      await wait(seconds * 1000, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
}

/** The limits per tenant. Without them picks are less even; what runs is limited by the database all the same. */
async function queueLimits({ ledger, log }: JobContext): Promise<Record<string, number>> {
  try {
    return await ledger.queueLimits()
  } catch (error) {
    log.error('queue_limits_not_read', { error: describeError(error) })
    return {}
  }
}
