import { expect, test } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { WorkerStoppedError } from '../../supabase/functions/_shared/ingestion/failures.ts'
import type { IngestionContext } from '../../supabase/functions/_shared/ingestion/context.ts'
import { reembedKnowledgeBase } from '../../supabase/functions/_shared/ingestion/jobs/reembed-knowledge-base.ts'

/** Six texts in batches of two. `embed` is asked for the vectors of each batch; the first is number 1. */
async function attempt(embed: (batch: number) => void, signal = new AbortController().signal) {
  let batches = 0
  const failures: object[] = []
  const ledger = {
    claimReembedding: () => ({
      lease_token: 't',
      reembedding_id: 'r',
      tenant_id: 'a',
      embedding_model: 'm',
      attempts: 1,
    }),
    readUnembedded: () => Array.from({ length: 6 }, (_, at) => ({ id: String(at), text: 'x', text_hash: 'h' })),
    storeReembedded: async () => true,
    failReembedding: (_id: string, _token: string, failure: object) => failures.push(failure) > 0,
    renewLease: () => true,
  }
  const context = {
    ledger,
    embedder: {
      model: 'm',
      dimensions: 1,
      embed: async (texts: string[]) => {
        embed(++batches)
        return texts.map(() => [1])
      },
    },
    log: { info: () => {}, error: () => {} },
    settings: { name: 'test', leaseSeconds: 30, maxAttempts: 10, embedBatchSize: 2, embedTimeoutMs: 60_000 },
  }
  const delivery = { id: 'r', jobId: 'j', signal, retryAt: () => null }
  const ended = await reembedKnowledgeBase(context as unknown as IngestionContext, delivery).then(
    () => 'done',
    () => 'tried again',
  )
  return { ended, failures }
}
const isAway = () => {
  throw new AppError('upstream_failed', 'The connection to the model provider broke off.')
}
const pending = [expect.objectContaining({ status: 'pending', reasonCode: 'service_unavailable' })]

test('a provider that fails at once costs one of the tries of the queue', async () => {
  expect(await attempt(isAway)).toEqual({ ended: 'tried again', failures: pending })
})

test('one that fails later costs none: what is left waits for the sweep', async () => {
  expect(await attempt((batch) => batch > 2 && isAway())).toEqual({ ended: 'done', failures: pending })
})

test('a worker that is stopped hands the job itself back', async () => {
  const stopping = new AbortController()
  const stop = (batch: number) => {
    if (batch < 3) return
    stopping.abort(new WorkerStoppedError('The worker is stopping.'))
    stopping.signal.throwIfAborted()
  }
  expect(await attempt(stop, stopping.signal)).toEqual({
    ended: 'tried again',
    failures: [expect.objectContaining({ status: 'pending', reasonCode: 'worker_stopped' })],
  })
})
