import type { Delivery, IngestionContext } from '../context.ts'

/** Removes the bytes of a source that no longer exists. Removing them twice is harmless. */
export async function removeObject({ ledger, store, log }: IngestionContext, { id, jobId }: Delivery): Promise<void> {
  const removal = await ledger.claimObjectRemoval(id)
  if (!removal) return
  await store.delete(removal.storage_path)
  await ledger.finishObjectRemoval(id)
  log.info('object_removed', { job_id: jobId, removal_id: id })
}
