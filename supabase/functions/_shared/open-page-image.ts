import { AppError } from './errors.ts'
import { ObjectMissingError } from './object-store.ts'
import type { ObjectStore } from './object-store.ts'
import type { PageImage } from './page-images.ts'

/**
 * The bytes of a page image. Null when it has been replaced since its row was read.
 * @throws AppError `storage_failed`.
 */
export async function openPageImage(
  objects: Pick<ObjectStore, 'get'>,
  image: PageImage,
  signal?: AbortSignal,
): Promise<{ stream: AsyncIterable<Uint8Array>; sizeBytes: number | null } | null> {
  try {
    return await objects.get(image.storage_path, signal)
  } catch (error) {
    if (error instanceof ObjectMissingError) return null
    throw new AppError('storage_failed', 'Storage error', { cause: error })
  }
}
