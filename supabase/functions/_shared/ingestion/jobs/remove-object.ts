import { batchesOf } from '../../batches.ts'
import type { Delivery, IngestionContext } from '../context.ts'

/** Removals under way at once, of one job. */
const AT_ONCE = 8

/** Removes objects that nobody needs any more: the bytes of a source that is gone, images of its pages. Twice is harmless. */
export async function removeObject({ ledger, store, log }: IngestionContext, { id, jobId }: Delivery): Promise<void> {
  const removal = await ledger.claimObjectRemoval(id)
  if (!removal) return
  const keys = [removal.storage_path, ...(removal.more_paths ?? [])]
  for (const batch of batchesOf(keys, AT_ONCE)) await Promise.all(batch.map((key) => store.delete(key)))
  await ledger.finishObjectRemoval(id)
  log.info('object_removed', { job_id: jobId, removal_id: id })
}
