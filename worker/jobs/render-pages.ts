import { createHash } from 'node:crypto'
import type { Delivery, IngestionContext } from '../../supabase/functions/_shared/ingestion/context.ts'
import { LeaseLostError, PermanentError } from '../../supabase/functions/_shared/ingestion/failures.ts'
import { settleFailure } from '../../supabase/functions/_shared/ingestion/jobs/settle.ts'
import { held, whileRenewed } from '../../supabase/functions/_shared/ingestion/lease.ts'
import type { PageRenderingClaim, StoredPageImage } from '../../supabase/functions/_shared/page-images-ledger.ts'
import type { RenderLimits } from '../extract/render-limits.ts'
import { renderInChild } from '../extract/render.ts'
import { fetchObject } from '../fetch-object.ts'

type JobContext = Pick<IngestionContext, 'ledger' | 'store' | 'log' | 'settings'>

/**
 * Draws the pages of a PDF, stores the images beside it, and lists them when all are there. Each attempt has keys of its own;
 * what an attempt that died has stored the database has removed. The text of the document has nothing to do with any of it.
 */
export const renderPages =
  (limits: RenderLimits) =>
  async (context: JobContext, delivery: Delivery): Promise<void> => {
    const { ledger, log, settings } = context
    const startedAt = performance.now()
    const claim = await ledger.claimPageRendering(delivery.id, settings.name, limits.maxPages, settings.leaseSeconds)
    const fields = {
      job_id: delivery.jobId,
      source_id: delivery.id,
      tenant_id: claim?.tenant_id,
      attempt: claim?.attempts,
    }
    if (!claim) {
      log.info('page_rendering_skipped', fields)
      return
    }
    log.info('page_rendering_started', fields)
    try {
      if (claim.attempts > settings.maxAttempts) {
        throw new PermanentError('dead_letter', 'Drawing these pages was begun many times and never finished.')
      }
      const renew = () => ledger.renewPageRenderingLease(claim, settings.leaseSeconds)
      const imageCount = await whileRenewed(renew, settings.leaseSeconds, delivery.signal, async (signal) => {
        const images = await drawAndStore(context, claim, limits, signal)
        signal.throwIfAborted()
        held(await ledger.finishPageRendering(claim, images))
        return images.length
      })
      log.info('page_rendering_finished', {
        ...fields,
        image_count: imageCount,
        duration_ms: Math.round(performance.now() - startedAt),
      })
    } catch (error) {
      if (error instanceof LeaseLostError) await removeAll(context, claim.image_paths)
      await settleFailure(error, {
        delivery,
        giveBack: ({ status, reasonCode, nextRetryAt }) =>
          ledger.failPageRendering(claim, {
            status: status === 'pending' ? 'pending' : 'failed',
            reasonCode,
            ...(nextRetryAt ? { nextRetryAt } : {}),
          }),
        log,
        fields,
      })
    }
  }

async function drawAndStore(
  { store }: JobContext,
  claim: PageRenderingClaim,
  limits: RenderLimits,
  signal: AbortSignal,
): Promise<StoredPageImage[]> {
  const object = { key: claim.storage_path, sizeBytes: claim.size_bytes, sha256: claim.content_hash }
  const file = await fetchObject(store, object, limits.maxBytes, signal)
  const images: StoredPageImage[] = []
  try {
    for await (const { png, ...image } of renderInChild(
      file,
      { ...limits, maxPages: claim.image_paths.length },
      signal,
    )) {
      await store.put(claim.image_paths[image.page - 1] as string, png, {
        contentType: 'image/png',
        sha256: createHash('sha256').update(png).digest('hex'),
      })
      images.push(image)
    }
  } finally {
    await file.close()
  }
  return images
}

/**
 * The database has queued the removal of these keys when the lease went to somebody else. Whoever was frozen for longer than that
 * waits may have stored one more, and removes it himself.
 */
async function removeAll({ store, log }: JobContext, keys: readonly string[]): Promise<void> {
  try {
    for (const key of keys) await store.delete(key)
  } catch {
    log.error('page_images_left', { count: keys.length })
  }
}

/** Marks as failed what the queue has given up on. */
export async function noteDeadRendering({ ledger, log }: JobContext, { id, jobId }: Delivery): Promise<void> {
  const marked = await ledger.markDeadPageRendering(id)
  log.error('dead_letter', { job_id: jobId, kind: 'page_rendering', id, marked })
}
