import type { StoredPage } from '../../supabase/functions/_shared/ledger.ts'
import { extractInChild } from '../extract/run.ts'
import { PermanentError } from '../failures.ts'
import { fetchObject } from '../fetch-object.ts'
import { held, withLease } from '../lease.ts'
import type { Delivery, JobContext } from './context.ts'
import { settleFailure } from './settle.ts'

/** Pages are stored in groups of this many, or of this many characters if that comes first. */
const PAGES_PER_SAVE = 25
const CHARACTERS_PER_SAVE = 250_000

/**
 * Turns the bytes of one source into stored pages. Does nothing when the source needs none of it or somebody else is at it.
 * Pages saved by an attempt that died are overwritten by the next; nobody sees them before the source is `extracted`.
 */
export async function extractSource(context: JobContext, delivery: Delivery): Promise<void> {
  const { ledger, log, settings } = context
  const startedAt = performance.now()
  const claim = await ledger.claimExtraction(delivery.id, settings.name, settings.leaseSeconds)
  const fields = {
    job_id: delivery.jobId,
    source_id: delivery.id,
    tenant_id: claim?.tenant_id,
    attempt: claim?.attempts,
  }
  if (!claim) {
    log.info('extraction_skipped', fields)
    return
  }
  log.info('extraction_started', fields)
  const { lease_token: token } = claim
  try {
    if (claim.attempts > settings.maxAttempts) {
      throw new PermanentError(
        'dead_letter',
        'Reading this document was begun many times and never finished. It may be damaged.',
      )
    }
    const lease = { kind: 'extraction' as const, id: delivery.id, token, seconds: settings.leaseSeconds }
    const pageCount = await withLease(ledger, lease, delivery.signal, async (signal) => {
      const expected = { key: claim.storage_path, sizeBytes: claim.size_bytes, sha256: claim.content_hash }
      const file = await fetchObject(context.store, expected, settings.limits.maxBytes, signal)
      try {
        return await storePages(signal, file)
      } finally {
        await file.close()
      }
    })
    log.info('extraction_finished', {
      ...fields,
      page_count: pageCount,
      duration_ms: Math.round(performance.now() - startedAt),
    })
  } catch (error) {
    const giveBack = (failure: Parameters<typeof ledger.failExtraction>[2]) =>
      ledger.failExtraction(delivery.id, token, failure)
    await settleFailure(error, { delivery, giveBack, log, fields })
  }

  async function storePages(signal: AbortSignal, file: Parameters<typeof extractInChild>[0]): Promise<number> {
    let waiting: StoredPage[] = []
    let characters = 0
    const save = async () => {
      if (waiting.length > 0) held(await ledger.saveSourcePages(delivery.id, token, waiting))
      waiting = []
      characters = 0
    }
    for await (const event of extractInChild(file, claim?.file_type ?? '', settings.limits, signal)) {
      if (event.type === 'end') {
        await save()
        signal.throwIfAborted()
        held(await ledger.finishExtraction(delivery.id, token, event.page_count, event.metadata))
        return event.page_count
      }
      waiting.push({ page_number: event.page_number, text: event.text })
      characters += event.text.length
      if (waiting.length >= PAGES_PER_SAVE || characters >= CHARACTERS_PER_SAVE) await save()
    }
    throw new Error('The extraction ended without a verdict.')
  }
}
