import { spawn } from 'node:child_process'
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ExtractionFailure,
  ReaderUnavailable,
  verdictOf,
} from '../../supabase/functions/_shared/ingestion/extract/failure.ts'
import { DEFAULT_LIMITS, type ExtractLimits } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { classify } from '../../supabase/functions/_shared/ingestion/failures.ts'
import { linesOfChild } from '../../worker/extract/child-process.ts'
import { extractInChild } from '../../worker/extract/extract.ts'
import { childrenOf } from '../support/child-processes.ts'
import { eventually } from '../support/eventually.ts'
import { endlessForms, flateBomb, makeDocx, manyPages, plainPdf, withStatedSize, zipBomb } from './bombs.ts'
import { extractFile, FIXTURES, gather, openDocuments, type Outcome } from './documents.ts'
import { makePptx, paragraph, shape, TITLE } from './office.ts'

const own = openDocuments(FIXTURES)
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function inChild(
  bytes: Uint8Array,
  name: string,
  limits: Partial<ExtractLimits> = {},
  signal?: AbortSignal,
): Promise<Outcome> {
  const path = join(folder, `${crypto.randomUUID()}${extname(name)}`)
  await writeFile(path, bytes)
  const file = await open(path, 'r')
  try {
    return await gather(extractInChild(file, extname(name), { ...DEFAULT_LIMITS, ...limits }, signal))
  } finally {
    await file.close()
  }
}

describe('extraction in a process of its own', () => {
  test.each([
    'markitdown/test.docx',
    'markitdown/test.xlsx',
    'markitdown/test.pdf',
    'markitdown/test_blog.html',
    'markitdown/test_mskanji.csv',
    'r2r/txt.txt',
    'onyx/encrypted.pdf',
    'onyx/shredded_strips.pdf',
    'markitdown/random.bin',
  ])('gives what extraction in this process gives: %s', async (file) => {
    const bytes = own!.read(file)
    const there = await inChild(bytes, file)
    expect(there).toEqual(await extractFile(bytes, file))
  })

  test('that cannot start says nothing of the document: it is tried again, and the cause is in the error', async () => {
    const path = join(folder, 'fine.txt')
    await writeFile(path, 'Fine.')
    const file = await open(path, 'r')
    const limits = { timeoutMs: 60_000, memoryMb: 512 }
    const child = { file, program: join(folder, 'absent.ts'), task: {}, limits, maxLineBytes: 1000 }
    try {
      const lines = linesOfChild({
        ...child,
        tooLong: () => new ExtractionFailure('too_large', 'x'),
        hasEnded: () => false,
      })
      const error = await lines.next().then(
        () => null,
        (thrown: unknown) => thrown as Error,
      )
      expect(error).toMatchObject({ message: 'The process that reads documents cannot start: it ended with 1.' })
      expect((error?.cause as Error).message).toMatch(/absent\.ts|ERR_ACCESS_DENIED/)
      expect(classify(error)).toMatchObject({ status: 'pending', errorCode: 'transient' })
    } finally {
      await file.close()
    }
  })

  test('that cannot load its reader says nothing of the document either', async () => {
    const at = (file: string) => JSON.stringify(fileURLToPath(new URL(`../../${file}`, import.meta.url)))
    // A process may read its own code only, of which this is a part.
    const place = await mkdtemp(fileURLToPath(new URL('../../node_modules/.bulkhead-test-', import.meta.url)))
    const program = join(place, 'program.mjs')
    await writeFile(
      program,
      `import { writeSync } from 'node:fs'
       import { serveParent } from ${at('worker/extract/serve-parent.ts')}
       import { ReaderUnavailable } from ${at('supabase/functions/_shared/ingestion/extract/failure.ts')}
       await serveParent(async function* () {
         writeSync(2, 'of the document\\n')
         throw new ReaderUnavailable('Not loaded.', { cause: new Error('Cannot find package y') })
       })`,
    )
    const path = join(folder, 'unread.txt')
    await writeFile(path, 'Fine.')
    const file = await open(path, 'r')
    try {
      const lines = linesOfChild({
        ...{ file, program, task: {}, limits: { timeoutMs: 60_000, memoryMb: 512 }, maxLineBytes: 1000 },
        tooLong: () => new ExtractionFailure('too_large', 'x'),
        hasEnded: () => false,
      })
      const error = await lines.next().then(
        () => null,
        (thrown: unknown) => thrown as Error,
      )
      expect(error).toMatchObject({ message: 'The process that reads documents cannot load a part of its program.' })
      expect((error?.cause as Error).message).toBe('Not loaded. Cannot find package y')
      expect(classify(error)).toMatchObject({ status: 'pending', errorCode: 'transient' })
      // Nor where documents are read in the same process.
      const unavailable = new ReaderUnavailable('x')
      expect(() => verdictOf(unavailable)).toThrow(unavailable)
      expect(classify(unavailable)).toMatchObject({ status: 'pending', errorCode: 'transient' })
    } finally {
      await file.close()
      await rm(place, { recursive: true })
    }
  })

  test('gives what extraction in this process gives: slides', async () => {
    const bytes = makePptx([{ shapes: shape(paragraph('Quay'), TITLE), notes: 'Wait here.' }])
    const there = await inChild(bytes, 'x.pptx')
    expect(there).toEqual(await extractFile(bytes, 'x.pptx'))
    expect(there.pages).toEqual(['# Quay\n\nSpeaker notes:\n\nWait here.'])
  })

  test('aborting ends it at once', async () => {
    const stop = new AbortController()
    const outcome = inChild(endlessForms(12, 12), 'x.pdf', {}, stop.signal)
    setTimeout(() => stop.abort(new Error('stopped')), 700)
    await expect(outcome).rejects.toThrow('stopped')
  })

  test('it ends with the process that started it, however busy it is', async () => {
    const path = join(folder, 'endless.pdf')
    await writeFile(path, endlessForms(12, 12))
    const parent = spawn(process.execPath, ['tests/worker/extract-for-test.ts', path], { stdio: 'ignore' })
    const child = await eventually(() => {
      const [pid] = childrenOf(parent.pid as number)
      if (!pid) throw new Error('not started yet')
      return pid
    })
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    process.kill(child, 0)
    parent.kill('SIGKILL')
    await eventually(() => expect(() => process.kill(child, 0)).toThrow('ESRCH'), 5_000)
  })

  test('a caller that stops reading ends it', async () => {
    const path = join(folder, 'long.pdf')
    await writeFile(path, plainPdf(400))
    const file = await open(path, 'r')
    const pages: number[] = []
    for await (const event of extractInChild(file, '.pdf', DEFAULT_LIMITS)) {
      if (event.type === 'page') pages.push(event.page_number)
      if (pages.length === 3) break
    }
    await file.close()
    expect(pages).toEqual([1, 2, 3])
  })
})

describe('a document that wants too much fails alone, with limit_exceeded', () => {
  const bomb = zipBomb(300)

  test('a DOCX that unpacks to more than is allowed', async () => {
    const { outcome, metadata } = await inChild(bomb, 'x.docx')
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('200 MB')
  })

  test('a DOCX that lies about how much it unpacks to is damaged, and costs no memory', async () => {
    const liar = withStatedSize(bomb, 'word/document.xml', 1000)
    const { outcome } = await inChild(liar, 'x.docx', { memoryMb: 256 })
    expect(['corrupt_document', 'empty_document']).toContain(outcome)
  })

  test('a DOCX with entities that expand is not expanded', async () => {
    const entities = Array.from(
      { length: 20 },
      (_, index) => `<!ENTITY e${index + 1} "&e${index};&e${index};&e${index};">`,
    ).join('')
    const xml = `<!DOCTYPE x [<!ENTITY e0 "boom">${entities}]><w:document><w:body><w:p><w:r><w:t>&e20; text</w:t></w:r></w:p></w:body></w:document>`
    const { outcome, pages } = await inChild(makeDocx(xml), 'x.docx')
    // The document type is skipped up to its first ">", so its rest is text outside of any paragraph.
    expect(outcome).toBe('text')
    expect(pages.join('').length).toBeLessThan(100)
  })

  test('a DOCX nested hundreds of thousands of tables deep is read', async () => {
    const xml = `<w:document>${'<w:tbl><w:tr><w:tc>'.repeat(300_000)}<w:p><w:r><w:t>deep</w:t></w:r></w:p>${'</w:tc></w:tr></w:tbl>'.repeat(300_000)}</w:document>`
    const { outcome, pages } = await inChild(makeDocx(xml), 'x.docx')
    expect(outcome).toBe('text')
    expect(pages.join('')).toContain('deep')
  })

  test('a web page nested a million deep, by time', async () => {
    const html = `<!doctype html>${'<div>'.repeat(1_000_000)}deep`
    expect((await inChild(new TextEncoder().encode(html), 'x.html', { timeoutMs: 3_000 })).outcome).toBe(
      'limit_exceeded',
    )
  })

  test('a PDF whose page unpacks to gigabytes, by memory', async () => {
    const { outcome, metadata } = await inChild(flateBomb(700), 'x.pdf', { memoryMb: 300 })
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('300 MB of memory')
  })

  test('a PDF with too many pages', async () => {
    const { outcome, metadata } = await inChild(plainPdf(30), 'x.pdf', { maxPages: 20 })
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('30 pages')
  })

  test('a PDF that claims ten million pages and has one is read as what it is', async () => {
    expect(await inChild(manyPages(10_000_000), 'x.pdf')).toMatchObject({ outcome: 'text', pages: ['Hello'] })
  })

  test('a PDF whose drawing never ends, by time', async () => {
    const { outcome, metadata } = await inChild(endlessForms(12, 12), 'x.pdf', { timeoutMs: 1_500 })
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toMatch(/seconds/)
  })

  test('more text than is allowed', async () => {
    const { outcome } = await inChild(new TextEncoder().encode('word '.repeat(10_000)), 'x.txt', {
      maxCharacters: 20_000,
    })
    expect(outcome).toBe('limit_exceeded')
  })
})
