import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decode } from 'fast-png'
import { strToU8 } from 'fflate'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ExtractionFailure } from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { DEFAULT_RENDER_LIMITS, pixelSize, type RenderLimits } from '../../worker/extract/render-limits.ts'
import { type DrawnPage, renderPdf } from '../../worker/extract/render-pdf.ts'
import { renderInChild } from '../../worker/extract/render.ts'
import { endlessForms, flateBomb, makePdf, manyPages, plainPdf } from './bombs.ts'
import { FIXTURES, openDocuments } from './documents.ts'

const documents = openDocuments(FIXTURES)!
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** The images, or the reason why there are none. */
async function render(
  bytes: Uint8Array,
  limits: Partial<RenderLimits> = {},
  signal?: AbortSignal,
): Promise<{ images: DrawnPage[]; reason?: string }> {
  const path = join(folder, crypto.randomUUID())
  await writeFile(path, bytes)
  const file = await open(path, 'r')
  const images: DrawnPage[] = []
  try {
    for await (const image of renderInChild(file, { ...DEFAULT_RENDER_LIMITS, ...limits }, signal)) images.push(image)
    return { images }
  } catch (error) {
    if (!(error instanceof ExtractionFailure)) throw error
    return { images, reason: error.reason }
  } finally {
    await file.close()
  }
}

/** A page of this box with a black square of 100 points in its corner. */
const pageOf = (box: string, more = '') =>
  makePdf([
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    `<< /Type /Page /Parent 2 0 R /MediaBox [${box}] /Contents 4 0 R ${more} >>`,
    { dictionary: '', stream: strToU8('0 0 100 100 re f') },
  ])

/** Share of pixels that are not white. */
function inked({ png }: DrawnPage): number {
  const { data, channels } = decode(png)
  let count = 0
  for (let at = 0; at < data.length; at += channels) if ((data[at] as number) < 250) count++
  return count / (data.length / channels)
}

describe('pages become images', () => {
  test('each one, in order, as large as its paper at the wanted resolution', async () => {
    const { images } = await render(plainPdf(3), { dpi: 72 })
    expect(images.map(({ page, width, height, dpi }) => [page, width, height, dpi])).toEqual([
      [1, 600, 800, 72],
      [2, 600, 800, 72],
      [3, 600, 800, 72],
    ])
    for (const image of images) {
      expect(decode(image.png)).toMatchObject({ width: 600, height: 800, channels: 1 })
      expect(inked(image)).toBeGreaterThan(0.001)
    }
  })

  test('with what is drawn at its place', async () => {
    const [image] = (await render(pageOf('0 0 200 400'), { dpi: 72 })).images
    const { data, width } = decode(image!.png)
    const at = (x: number, y: number) => data[y * width + x]
    expect([at(50, 350), at(50, 250), at(150, 350)]).toEqual([0, 255, 255])
  })

  test.each([['pdfjs/vertical.pdf', 3]])('of %s', async (file, count) => {
    const { images } = await render(documents.read(file))
    expect(images).toHaveLength(count)
    for (const image of images) expect(inked(image)).toBeGreaterThan(0.001)
  })
})

describe('what would be too much is less, or fails alone', () => {
  test.each([['a sheet of 200 inches', '0 0 14400 14400', 2000, 2000]])(
    '%s is drawn coarsely',
    async (_, box, width, height) => {
      const { images } = await render(pageOf(box))
      expect(images).toMatchObject([{ page: 1, width, height }])
    },
  )

  test('sizes that are none get no image', () => {
    for (const [width, height] of [
      [0, 10],
      [-5, 10],
      [NaN, 10],
      [Infinity, 10],
      [1e200, 1e200],
    ]) {
      expect(pixelSize(width!, height!, DEFAULT_RENDER_LIMITS)).toBeNull()
    }
    expect(pixelSize(612, 792, DEFAULT_RENDER_LIMITS)).toEqual({ width: 850, height: 1100, dpi: 100 })
    expect(pixelSize(14_400, 1, DEFAULT_RENDER_LIMITS)).toEqual({ width: 4096, height: 1, dpi: 20 })
    expect(pixelSize(1e8, 1e8, DEFAULT_RENDER_LIMITS)).toMatchObject({ width: 2000, height: 2000 })
  })

  test('of ten thousand pages the first ones are drawn', async () => {
    const { images, reason } = await render(plainPdf(10_000), { dpi: 36, maxPages: 20 })
    expect(reason).toBeUndefined()
    expect(images.map(({ page }) => page)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
  })

  test('pages that a document only claims to have are passed over', async () => {
    const { images } = await render(manyPages(1_000_000), { dpi: 36 })
    expect(images).toHaveLength(1)
  })

  test('when the images are too many bytes together, the later pages get none', async () => {
    const all = (await render(plainPdf(4), { dpi: 36 })).images
    const [first, second] = all.map(({ png }) => png.length)
    const { images, reason } = await render(plainPdf(4), { dpi: 36, maxImageBytes: first! + second! })
    expect([images.map(({ page }) => page), reason]).toEqual([[1, 2], undefined])
  })

  test('when there are more pages than time, the later ones get none', async () => {
    const images: DrawnPage[] = []
    for await (const image of renderPdf(plainPdf(9), { ...DEFAULT_RENDER_LIMITS, dpi: 36, timeoutMs: 0 }))
      images.push(image)
    expect(images.map(({ page }) => page)).toEqual([1])
  })

  test.each([
    ['a protected one', 'onyx/encrypted.pdf', 'encrypted_document'],
    ['a damaged one', 'pdfjs/REDHAT-1531897-0.pdf', 'corrupt_document'],
    ['no PDF', 'markitdown/test.docx', 'corrupt_document'],
  ])('%s has no images', async (_, file, reason) => {
    expect(await render(documents.read(file))).toEqual({ images: [], reason })
  })

  test('one whose drawing never ends is stopped by time', async () => {
    const { images, reason } = await render(endlessForms(12, 12), { timeoutMs: 1_500 })
    expect({ images, reason }).toEqual({ images: [], reason: 'limit_exceeded' })
  })

  test('one that unpacks to gigabytes is stopped by memory or time', { timeout: 30_000 }, async () => {
    const { images, reason } = await render(flateBomb(200), { timeoutMs: 2_000, memoryMb: 200 })
    expect({ images, reason }).toEqual({ images: [], reason: 'limit_exceeded' })
  })

  test('aborting ends it', async () => {
    const stop = new AbortController()
    const rendering = render(plainPdf(500), {}, stop.signal)
    stop.abort(new Error('stopped'))
    await expect(rendering).rejects.toThrow('stopped')
  })
})
