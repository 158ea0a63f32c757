import type { StoredPage } from '../../ledger.ts'
import type { ExtractEvent } from '../extract/extract.ts'
import { ExtractionFailure } from '../extract/failure.ts'
import { PermanentError } from '../failures.ts'
import { held, withLease } from '../lease.ts'
import type { Delivery, IngestionContext } from '../context.ts'
import { settleFailure } from './settle.ts'

/** Pages are stored in groups of this many, or of this many characters if that comes first. */
const PAGES_PER_SAVE = 25
const CHARACTERS_PER_SAVE = 250_000

/**
 * Turns the bytes of one source into stored pages. Does nothing when the source needs none of it or somebody else is at it.
 * Pages saved by an attempt that died are overwritten by the next; nobody sees them before the source is `extracted`.
 */
export async function extractSource(context: IngestionContext, delivery: Delivery): Promise<void> {
  const { ledger, log, settings, workshop } = context
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
    if (claim.lost_holder !== null && workshop.hasFailed(claim.lost_holder)) throw tooMuchForOne()
    const lease = { kind: 'extraction' as const, id: delivery.id, token, seconds: settings.leaseSeconds }
    const pageCount = await withLease(ledger, lease, delivery.signal, async (signal) => {
      const object = { key: claim.storage_path, sizeBytes: claim.size_bytes, sha256: claim.content_hash }
      return await storePages(signal, workshop.read(object, claim.file_type, signal))
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

  async function storePages(signal: AbortSignal, events: AsyncIterable<ExtractEvent>): Promise<number> {
    let waiting: StoredPage[] = []
    let characters = 0
    const save = async () => {
      if (waiting.length > 0) held(await ledger.saveSourcePages(delivery.id, token, waiting))
      waiting = []
      characters = 0
    }
    for await (const event of events) {
      if (event.type === 'end') {
        await save()
        signal.throwIfAborted()
        const { rendersPages } = settings
        held(await ledger.finishExtraction(delivery.id, token, event.page_count, event.metadata, rendersPages))
        return event.page_count
      }
      waiting.push({ page_number: event.page_number, text: event.text })
      characters += event.text.length
      if (waiting.length >= PAGES_PER_SAVE || characters >= CHARACTERS_PER_SAVE) await save()
    }
    throw new Error('The extraction ended without a verdict.')
  }
}

/** Whoever read it before has died of it, or died anyway; it is not tried again where others depend on the reader. */
const tooMuchForOne = () =>
  new ExtractionFailure(
    'limit_exceeded',
    'Reading this document took more memory or time than there is where it was read. Split the document and upload the parts.',
  )
