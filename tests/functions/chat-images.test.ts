import { describe, expect, it } from 'vitest'
import { readPageImage } from '../../supabase/functions/_shared/chat-images.ts'
import type { PageImage } from '../../supabase/functions/_shared/page-images.ts'

const IMAGE: PageImage = {
  storage_path: 't/s/pages/x/1.png',
  page: 1,
  format: 'png',
  metadata: { width: 1, height: 1, dpi: 72 },
}
const never = new Promise<never>(() => {})
/** Pieces of an image, after which nothing comes any more. */
async function* stalling(...pieces: number[]) {
  for (const piece of pieces) yield await Promise.resolve(new Uint8Array([piece]))
  await never
}
async function* whole(...pieces: number[]) {
  for (const piece of pieces) yield await Promise.resolve(new Uint8Array([piece]))
}
const store = (get: () => Promise<AsyncIterable<Uint8Array>>) => ({
  get: async () => ({ stream: await get(), sizeBytes: null }),
})

describe('an image of a page', () => {
  it('is read whole', async () => {
    const read = readPageImage(
      store(() => Promise.resolve(whole(1, 2))),
      IMAGE,
      new AbortController().signal,
    )
    expect(await read).toEqual(new Uint8Array([1, 2]))
  })

  it.each([
    { what: 'does not answer', get: () => never },
    { what: 'does not get on', get: () => Promise.resolve(stalling(1, 2)) },
  ])('is not waited for where the storage $what', async ({ get }) => {
    const read = readPageImage(store(get), IMAGE, new AbortController().signal, 20)
    await expect(read).rejects.toMatchObject({ code: 'storage_failed' })
    const stopped = new AbortController()
    const reading = readPageImage(store(get), IMAGE, stopped.signal)
    stopped.abort(new Error('stopped'))
    await expect(reading).rejects.toThrow('stopped')
  })
})
