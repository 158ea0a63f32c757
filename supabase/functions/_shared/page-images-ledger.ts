/** The part of the ledger that lists page images. Every write is fenced by the lease. */

/** Pages that have been taken up to be drawn. */
export type PageRenderingClaim = {
  lease_token: string
  source_id: string
  tenant_id: string
  size_bytes: number
  content_hash: string
  storage_path: string
  /** Keys for the images of page 1, 2, ...; further pages get none. No other attempt has the same keys. */
  image_paths: string[]
  attempts: number
}

/** Images of pages in the claim of a source to index: as the source lists them, absent where the settings do not want them. */
export type WantedPageImages = { page_images?: unknown }

/** An image that is in its place. */
export type StoredPageImage = { page: number; width: number; height: number; dpi: number }

type Lease = Pick<PageRenderingClaim, 'source_id' | 'lease_token'>
type Call = <T>(name: string, args: Record<string, unknown>) => Promise<T>

const held = ({ source_id, lease_token }: Lease) => ({ source_id, lease_token })

/** The calls, made with `call`. All throw AppError as `fromPostgrest` makes it. */
export const pageImageCalls = (call: Call) => ({
  /** Takes the lease on the pages of a source; null when there is nothing to do or somebody else is at it. */
  claimPageRendering: (sourceId: string, worker: string, maxPages: number, leaseSeconds: number) =>
    call<PageRenderingClaim | null>('claim_page_rendering', {
      source_id: sourceId,
      worker,
      max_pages: maxPages,
      lease_seconds: leaseSeconds,
    }),
  renewPageRenderingLease: (lease: Lease, leaseSeconds: number) =>
    call<boolean>('renew_page_rendering_lease', { ...held(lease), lease_seconds: leaseSeconds }),
  /** Lists images, all of them in place, instead of those listed before. False when the lease is lost. */
  finishPageRendering: (lease: Lease, images: readonly StoredPageImage[]) =>
    call<boolean>('finish_page_rendering', { ...held(lease), images }),
  /** Gives the lease back; what was stored and is not listed is removed. False when the lease is lost. */
  failPageRendering: (
    lease: Lease,
    { status, reasonCode, nextRetryAt }: { status: 'failed' | 'pending'; reasonCode: string; nextRetryAt?: Date },
  ) =>
    call<boolean>('fail_page_rendering', {
      ...held(lease),
      status,
      reason_code: reasonCode,
      next_retry_at: nextRetryAt?.toISOString() ?? null,
    }),
  /** The queue has given it up. False when it has ended or been taken up again meanwhile. */
  markDeadPageRendering: (sourceId: string) => call<boolean>('mark_dead_page_rendering', { source_id: sourceId }),
})
