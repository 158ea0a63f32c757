import { describe, expect, it } from 'vitest'
import { imageWarnings, imagesField } from '../../supabase/functions/_shared/search/page-images.ts'

const image = { page: 2, index: 1, width: 10, height: 20, dpi: 100 }
const read = (images: unknown) => imagesField({ images })

describe('images that a result names', () => {
  it('are delivered inside requests, which may be asked for, and nothing else', () => {
    for (const image_delivery of [undefined, null, 'base64']) expect(imageWarnings({ image_delivery })).toEqual([])
    expect(imageWarnings(null)).toEqual([])
    for (const image_delivery of ['url', 'signed_url', 5]) expect(imageWarnings({ image_delivery })).toHaveLength(1)
  })

  it('are pages with their numbers, each once', () => {
    expect(read([image, { page: 3 }, { ...image, width: 1 }])).toEqual({ images: [image, { page: 3 }] })
  })

  it('are nothing else, whatever a client says of them', () => {
    const padded = { ...image, storage_path: 'other/pages/1.png', note: 'x'.repeat(100_000), nested: { deep: [] } }
    expect(read([padded])).toEqual({ images: [image] })
    expect(read([{ page: 1, width: '10', dpi: null }])).toEqual({ images: [{ page: 1 }] })
  })

  it('are none where no page is named, or so many that they are read as text', () => {
    for (const none of [null, 'x', {}, [null], [{ page: 0 }], [{ page: 1.5 }], [{ page: '1' }], [{ page: 1e300 }]]) {
      expect(read(none)).toEqual({})
    }
    expect(imagesField(null)).toEqual({})
    const pages = (count: number) => Array.from({ length: count }, (_, index) => ({ page: index + 1 }))
    expect(read(pages(4)).images).toHaveLength(4)
    expect(read(pages(5))).toEqual({})
  })
})
