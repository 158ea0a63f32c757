import { setTimeout as wait } from 'node:timers/promises'
import { WorkerStoppedError } from './failures.ts'
import type { JobContext } from './jobs/context.ts'
import { markDeadLetter, retryRemoval } from './jobs/dead-letters.ts'
import { embedMemory } from './jobs/embed-memory.ts'
import { extractSource } from './jobs/extract-source.ts'
import { indexSource } from './jobs/index-source.ts'
import { maintainSearch } from './jobs/maintain-search.ts'
import { reembedKnowledgeBase } from './jobs/reembed-knowledge-base.ts'
import { removeObject } from './jobs/remove-object.ts'
import { sweep } from './jobs/sweep.ts'
import { startQueue, type QueueHandler, type Subscription } from './queue.ts'

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
  const { concurrency } = settings
  const subscriptions: Subscription[] = [
    { queue: 'extract_source', concurrency, isUrgent: true, handle: bind(extractSource) },
    { queue: 'index_source', concurrency, isUrgent: true, handle: bind(indexSource) },
    { queue: 'embed_memory', concurrency, isUrgent: true, handle: bind(embedMemory) },
    { queue: 'reembed_knowledge_base', concurrency: 1, isUrgent: true, handle: bind(reembedKnowledgeBase) },
    { queue: 'maintain_search', concurrency: 1, isUrgent: true, handle: bind(maintainSearch) },
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
  ]
  const queue = await startQueue(settings, subscriptions, stopping.signal, log)
  const sweeping = sweepRegularly()
  log.info('worker_started', {
    concurrency,
    embedding_model: context.embedder.model,
    lease_seconds: settings.leaseSeconds,
  })

  return {
    async stop() {
      accepting = false
      await queue.pause()
      log.info('worker_stopping', { running: running.size })
      const grace = new AbortController()
      await Promise.race([
        Promise.allSettled(running),
        wait(settings.stopGraceMs, undefined, { signal: grace.signal }).catch(() => undefined),
      ])
      grace.abort()
      stopping.abort(new WorkerStoppedError('The worker is stopping.'))
      await Promise.allSettled(running)
      await sweeping
      await queue.stop()
      log.info('worker_stopped')
    },
  }

  async function sweepRegularly(): Promise<void> {
    while (!stopping.signal.aborted) {
      await sweep(context)
      await wait(settings.sweepSeconds * 1000, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
}
