import { untilAborted } from './agent/abort.ts'
import { AppError } from './errors.ts'
import { withTimeout } from './fetch.ts'
import { joinBytes } from './join-bytes.ts'
import type { ObjectStore } from './object-store.ts'
import { openPageImage } from './open-page-image.ts'
import type { PageImage } from './page-images.ts'

/** Images of pages in requests to models, wherever they are put together. */

/** Images of one request, and their bytes together. */
export const MAX_REQUEST_IMAGES = 8
export const MAX_REQUEST_IMAGE_BYTES = 8 * 1024 * 1024
/** Documents, or parts of them, that a job asks about at once with images: each request may hold megabytes. */
export const AT_ONCE_WITH_IMAGES = 2
/** What providers count for one page at most: those that divide images into tiles take less than this for 100 dots per inch. */
export const TOKENS_PER_IMAGE = 1600

/** Milliseconds that one image may take to come. There is a text that stands for it. */
const READ_TIMEOUT_MS = 10_000

/**
 * The bytes of an image; null when it has been replaced since its row was read, or is larger than a request may be.
 * @throws AppError `storage_failed`, also when the storage does not get on; the reason of `signal` when that fires.
 */
export async function readPageImage(
  objects: Pick<ObjectStore, 'get'>,
  image: PageImage,
  signal: AbortSignal,
  timeoutMs = READ_TIMEOUT_MS,
): Promise<Uint8Array | null> {
  const bounded = withTimeout(signal, timeoutMs)
  try {
    return await untilAborted(read(objects, image, bounded), bounded)
  } catch (error) {
    signal.throwIfAborted()
    if (!bounded.aborted) throw error
    throw new AppError('storage_failed', 'Storage error', { cause: bounded.reason })
  }
}

async function read(
  objects: Pick<ObjectStore, 'get'>,
  image: PageImage,
  signal: AbortSignal,
): Promise<Uint8Array | null> {
  const opened = await openPageImage(objects, image, signal)
  if (opened === null) return null
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of opened.stream) {
    size += piece.length
    if (size > MAX_REQUEST_IMAGE_BYTES) return null
    pieces.push(piece)
  }
  return joinBytes(pieces)
}

/** Bytes as base64, in pieces that fit the arguments of a call. */
export function base64Of(bytes: Uint8Array): string {
  let binary = ''
  for (let from = 0; from < bytes.length; from += 8192) {
    binary += String.fromCharCode(...bytes.subarray(from, from + 8192))
  }
  return btoa(binary)
}

/** An endpoint's word that it does not take a request with images: without them it may. */
export function refusesImages(error: unknown): boolean {
  if (!(error instanceof AppError)) return false
  if (error.code === 'context_length_exceeded') return true
  const status = (error.cause as { status?: unknown } | undefined)?.status
  return error.code === 'upstream_failed' && [400, 404, 413, 415, 422].includes(Number(status))
}
