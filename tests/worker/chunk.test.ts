import { describe, expect, test } from 'vitest'
import { readBlocks } from '../../supabase/functions/_shared/ingestion/chunk/blocks.ts'
import {
  chunkOptionsFrom,
  chunkPages,
  type Chunk,
  type ChunkOptions,
} from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { joinPages, type Page } from '../../supabase/functions/_shared/ingestion/chunk/pages.ts'
import { TokenEstimator } from '../../supabase/functions/_shared/ingestion/chunk/tokens.ts'
import { extractFile, FIXTURES, openDocuments } from './documents.ts'
import { randomNumbers } from './random.ts'

const pagesOf = (...texts: string[]): Page[] => texts.map((text, index) => ({ page_number: index + 1, text }))

/** Everything that must hold for the chunks of any document. */
function expectSound(pages: Page[], options: ChunkOptions): Chunk[] {
  const { text } = joinPages(pages)
  const chunks = chunkPages(pages, options)
  const tokens = new TokenEstimator(text)
  const covered = new Uint8Array(text.length)
  let previousStart = -1
  let previousEnd = 0
  chunks.forEach((chunk, index) => {
    expect(chunk.chunk_index).toBe(index)
    expect(text.slice(chunk.start_char, chunk.end_char)).toBe(chunk.text)
    expect(chunk.text).toBe(chunk.text.trim())
    expect(chunk.text).not.toBe('')
    expect(chunk.text).not.toMatch(/\p{Surrogate}/u)
    expect(chunk.tokens).toBe(tokens.count(chunk.start_char, chunk.end_char))
    expect(chunk.tokens).toBeLessThanOrEqual(options.chunkSize)
    expect(chunk.score).toBeGreaterThanOrEqual(0)
    expect(chunk.score).toBeLessThanOrEqual(1)
    expect(chunk.embedded.endsWith(chunk.text)).toBe(true)
    // Each chunk goes further than the one before, and repeats no more of it than asked for.
    expect(chunk.start_char).toBeGreaterThan(previousStart)
    expect(chunk.end_char).toBeGreaterThan(previousEnd)
    if (chunk.start_char < previousEnd) {
      expect(tokens.count(chunk.start_char, previousEnd)).toBeLessThanOrEqual(options.overlap)
    }
    previousStart = chunk.start_char
    previousEnd = chunk.end_char
    covered.fill(1, chunk.start_char, chunk.end_char)
    expect(chunk.meta.pages).toEqual(pagesTouched(pages, chunk))
  })
  for (let at = 0; at < text.length; at++) {
    if (!covered[at] && /\S/.test(text[at] as string)) throw new Error(`"${text.slice(at, at + 40)}" is in no chunk`)
  }
  expect(chunkPages(pages, options)).toEqual(chunks)
  return chunks
}

/** Pages a chunk overlaps, counted naively. */
function pagesTouched(pages: Page[], { start_char, end_char }: Chunk): number[] {
  let start = 0
  return pages.flatMap((page) => {
    const end = start + page.text.length
    const touched = start < end_char && end > start_char
    start = end + 2
    return touched ? [page.page_number] : []
  })
}

const WORDS =
  'lorem ipsum dolor sit amet 資料 検索 データ Größe naïve Привет مرحبا 👩‍👩‍👧‍👦 🎉 $4,500.00 https://example.org/a?b=c#d ﬁn x'.split(
    ' ',
  )

function randomDocument(seed: number): Page[] {
  const { between, pick } = randomNumbers(seed)
  const sentence = () =>
    `${Array.from({ length: between(1, 25) }, () => pick(WORDS)).join(' ')}${pick(['.', '?', '。', '', '!\n'])}`
  const block = (): string => {
    switch (between(0, 9)) {
      case 0:
        return `${'#'.repeat(between(1, 6))} ${sentence()
          .slice(0, 60)
          .replace(/\p{Surrogate}/gu, '')}`
      case 1:
        return Array.from({ length: between(1, 30) }, () => `| ${pick(WORDS)} | ${pick(WORDS)} |`).join('\n')
      case 2:
        return `\`\`\`\n${Array.from({ length: between(1, 20) }, () => `  ${pick(WORDS)}();`).join('\n')}${pick(['\n```', ''])}`
      case 3:
        return Array.from(
          { length: between(1, 12) },
          (_, index) => `${pick(['-', '*', `${index}.`])} ${sentence()}`,
        ).join('\n')
      case 4:
        return pick(['字', 'x', '🎉', '.', '　あ']).repeat(between(1, 3000))
      case 5:
        return pick([
          '===',
          '---',
          '| |',
          '#',
          '```',
          '\t',
          '[1]',
          '== Part ==',
          ' = = 検索 = = ',
          '= =',
          `= ${sentence()} =`,
        ])
      default:
        return Array.from({ length: between(1, 12) }, sentence).join(pick([' ', '\n']))
    }
  }
  return pagesOf(
    ...Array.from({ length: between(0, 6) }, () =>
      Array.from({ length: between(0, 8) }, block).join(pick(['\n\n', '\n', '\n\n\n'])),
    ),
  )
}

describe('chunks of any document are exact, complete, bounded and reproducible', () => {
  test.each([
    { chunkSize: 400, overlap: 50 },
    { chunkSize: 100, overlap: 0 },
    { chunkSize: 60, overlap: 30 },
    { chunkSize: 20, overlap: 10 },
    { chunkSize: 100, overlap: 20, keepsSectionsApart: true },
  ])('$chunkSize tokens, overlap $overlap, 150 random documents', (options) => {
    let count = 0
    for (let seed = 1; seed <= 150; seed++)
      count += expectSound(randomDocument(seed * 7 + options.chunkSize), options).length
    expect(count).toBeGreaterThan(500)
  })

  test.each([
    'py-pdf/multicolumn.pdf',
    'markitdown/test_with_comment.docx',
    'markitdown/test.xlsx',
    'markitdown/test_blog.html',
    'r2r/txt.txt',
    'r2r/csv.csv',
  ])('%s', async (file) => {
    const { pages } = await extractFile(openDocuments(FIXTURES)!.read(file), file)
    expectSound(pagesOf(...pages), { chunkSize: 400, overlap: 50 })
    expectSound(pagesOf(...pages), { chunkSize: 50, overlap: 10 })
  })

  // Anything quadratic takes many minutes at this size.
  test('a document of ten thousand pages is divided completely', () => {
    const page = `## Heading\n\n${'A sentence that says little. '.repeat(80)}`
    const divide = (count: number) =>
      chunkPages(pagesOf(...Array<string>(count).fill(page)), { chunkSize: 400, overlap: 50 })
    expect(divide(10_000)).toHaveLength(100 * divide(100).length)
  })

  test.each([
    ['equals signs', '='],
    ['equals signs and spaces', '= '],
    ['lines of equals signs', `${'= '.repeat(99)}\n`],
    ['lines of equals signs around a letter', `${'='.repeat(99)}a${'='.repeat(99)}\n`],
    ['headings of a wiki', '== a ==\n'],
    ['long lines', `${'a '.repeat(101)}\n`],
  ])('a megabyte of %s is divided completely', (_, part) => {
    const text = part.repeat(Math.ceil(1_000_000 / part.length))
    const chunks = chunkPages(pagesOf(text), { chunkSize: 400, overlap: 50 })
    expect(chunks.at(-1)?.end_char).toBe(text.trimEnd().length)
    for (const chunk of chunks) expect(chunk.text).toBe(text.slice(chunk.start_char, chunk.end_char))
  })
})

describe('structure', () => {
  const filler = (words: number) => 'Words fill this passage up. '.repeat(words / 5).trim()

  test('nothing gives no chunks', () => {
    expect(chunkPages([], { chunkSize: 400, overlap: 50 })).toEqual([])
    expect(chunkPages(pagesOf('', '  \n '), { chunkSize: 400, overlap: 50 })).toEqual([])
  })

  test('a chunk knows the headings above it, and only the deepest is embedded with it', () => {
    const text = `# Guide\n\n## Install\n\n${filler(100)}\n\n### On Linux\n\n${filler(600)}\n\n## Use\n\n${filler(150)}`
    const chunks = expectSound(pagesOf(text), { chunkSize: 200, overlap: 0 })
    expect(chunks[0]?.meta.heading_path).toEqual(['Guide', 'Install'])
    const linux = chunks.filter((chunk) => chunk.meta.heading_path.at(-1) === 'On Linux')
    expect(linux.length).toBeGreaterThan(2)
    expect(linux[0]?.embedded).toBe(linux[0]?.text)
    expect(linux[1]?.embedded).toBe(`On Linux\n\n${linux[1]?.text}`)
    expect(linux[1]?.text).not.toContain('On Linux')
    expect(chunks.at(-1)?.meta.heading_path).toEqual(['Guide', 'Use'])
  })

  test('short sections share a chunk, unless they are kept apart', () => {
    const text = `Before.\n\n# Guide\n\n## Install\n\nPut it in.\n\n## Use\n\n${filler(600)}\n\n# Index\n\nA to Z.`
    const sections = (options: object) =>
      expectSound(pagesOf(text), { chunkSize: 400, overlap: 0, ...options }).map(({ meta }) => meta.heading_path)
    expect(sections({})).toEqual([[], ['Guide', 'Use'], []])
    expect(sections({ keepsSectionsApart: true })).toEqual([
      [],
      ['Guide', 'Install'],
      ['Guide', 'Use'],
      ['Guide', 'Use'],
      ['Guide', 'Use'],
      ['Index'],
    ])
  })

  test('headings of a wiki are headings, also as tokenized copies have them', () => {
    const text = `= Guide =\n${filler(60)}\n== Install ==\n${filler(60)}\n= = Use = =\n${filler(60)}\n= = = On Linux = = =\n${filler(60)}`
    const chunks = expectSound(pagesOf(text), { chunkSize: 110, overlap: 20 })
    expect(chunks.map((chunk) => chunk.meta.heading_path)).toEqual([
      ['Guide'],
      ['Guide', 'Install'],
      ['Guide', 'Use'],
      ['Guide', 'Use', 'On Linux'],
    ])
    expect(chunks.map((chunk) => chunk.text.split('\n', 1)[0])).toEqual([
      '= Guide =',
      '== Install ==',
      '= = Use = =',
      '= = = On Linux = = =',
    ])
  })

  test('what only resembles a heading of a wiki is text', () => {
    const heading = (line: string) => {
      const [block] = readBlocks(line)
      return block?.kind === 'heading' ? `${block.level} ${block.title}` : null
    }
    const cases: [string, string | null][] = [
      ['= Title =', '1 Title'],
      ['   ======Title====== ', '6 Title'],
      [' = = = Deux mots = = = ', '3 Deux mots'],
      ['== 2024 ==', '2 2024'],
      ['== 検索 ==\t', '2 検索'],
      ['== a = b ==', '2 a = b'],
      [`= ${'a'.repeat(196)} =`, `1 ${'a'.repeat(196)}`],
      [`= ${'a'.repeat(197)} =`, null],
      ['======= Title =======', null],
      ['== Title =', null],
      ['= Title ==', null],
      ['== Title', null],
      ['Title ==', null],
      ['x == y ==', null],
      ['    == Title ==', null],
      ['== == ==', null],
      ['== . ==', null],
      ['=', null],
      ['====', null],
      ['= = = =', null],
    ]
    for (const [line, expected] of cases) expect([line, heading(line)]).toEqual([line, expected])
  })

  test('lines longer than anyone wraps them are paragraphs each, shorter ones are one', () => {
    const line = (length: number) => 'Words fill this line up, '.repeat(20).slice(0, length)
    const kinds = (...lines: string[]) =>
      readBlocks(lines.join('\n')).map(({ kind, start, end }) => `${kind} ${end - start}`)
    expect(kinds(line(201), line(300), line(201))).toEqual(['paragraph 201', 'paragraph 300', 'paragraph 201'])
    expect(kinds(line(200), line(200), line(200))).toEqual(['paragraph 602'])
    expect(kinds(line(80), line(80), line(201), line(80), line(80))).toEqual([
      'paragraph 161',
      'paragraph 201',
      'paragraph 161',
    ])
    expect(kinds(line(201), 'A title', '---', line(80))).toEqual(['paragraph 201', 'heading 11', 'paragraph 80'])
    expect(kinds(`| ${line(201)} |`, `| ${line(201)} |`)).toEqual(['table 411'])
    expect(kinds('```', line(201), line(201), '```')).toEqual(['code 411'])
  })

  test('a chunk ends with a long line rather than inside the next', () => {
    const paragraph = (name: string) =>
      `${name} begins here. ${`${name} goes on and on. `.repeat(11)}${name} ends here.`
    const names = ['Alpha', 'Bravo', 'Carlo', 'Delta', 'Echos']
    const text = names.map(paragraph).join('\n')
    const chunks = expectSound(pagesOf(text), { chunkSize: 180, overlap: 0 })
    expect(chunks.length).toBeGreaterThan(2)
    for (const chunk of chunks) {
      expect(chunk.text).toMatch(/^\w+ begins here\./)
      expect(chunk.text).toMatch(/ ends here\.$/)
    }
  })

  test('a heading is never the end of a chunk', () => {
    const text = Array.from({ length: 30 }, (_, index) => `## Part ${index}\n\n${filler(40 + index * 7)}`).join('\n\n')
    for (const chunk of expectSound(pagesOf(text), { chunkSize: 120, overlap: 20 }))
      expect(chunk.text).not.toMatch(/(^|\n)#+ [^\n]*$/)
  })

  test('small sections share a chunk under the heading they have in common', () => {
    const text = '# Terms\n\n## A\n\nShort one.\n\n## B\n\nShort two.\n\n## C\n\nShort three.'
    const [only, ...others] = expectSound(pagesOf(text), { chunkSize: 400, overlap: 50 })
    expect(others).toEqual([])
    expect(only?.meta.heading_path).toEqual(['Terms'])
  })

  test('a table that fits into one chunk is not torn, and a longer one repeats its header where it is embedded', () => {
    const table = (rows: number) =>
      [
        '| Item | Price |',
        '| --- | --- |',
        ...Array.from({ length: rows }, (_, row) => `| Item ${row} | ${row} |`),
      ].join('\n')
    const small = expectSound(pagesOf(`${filler(120)}\n\n${table(10)}\n\n${filler(120)}`), {
      chunkSize: 220,
      overlap: 20,
    })
    expect(small.some((chunk) => chunk.text.includes(table(10)))).toBe(true)

    const large = expectSound(pagesOf(table(200)), { chunkSize: 220, overlap: 0 })
    expect(large.length).toBeGreaterThan(3)
    for (const chunk of large.slice(1)) {
      expect(chunk.text).not.toContain('Price')
      expect(chunk.embedded).toBe(`| Item | Price |\n\n${chunk.text}`)
    }
  })

  test('chunks overlap by whole sentences within a section and not across headings', () => {
    const sentences = (from: number) =>
      Array.from({ length: 40 }, (_, index) => `Sentence number ${from + index} stands here.`).join(' ')
    const chunks = expectSound(pagesOf(`# One\n\n${sentences(100)}\n\n# Two\n\n${sentences(500)}`), {
      chunkSize: 100,
      overlap: 25,
    })
    const pairs = chunks.slice(1).map((chunk, index) => [chunks[index] as Chunk, chunk] as const)
    for (const [before, after] of pairs) {
      if (after.text.startsWith('# Two')) expect(after.start_char).toBeGreaterThanOrEqual(before.end_char)
      else {
        expect(after.start_char).toBeLessThan(before.end_char)
        expect(after.text).toMatch(/^Sentence number \d+ stands here\./)
      }
    }
  })

  test('a passage across a page break names both pages', () => {
    const [chunk] = chunkPages(pagesOf('The end of one page', 'and the begin of the next.'), {
      chunkSize: 400,
      overlap: 0,
    })
    expect(chunk?.meta.pages).toEqual([1, 2])
    expect(chunk).toMatchObject({
      start_char: 0,
      end_char: 47,
      text: 'The end of one page\n\nand the begin of the next.',
    })
  })

  test('offsets count UTF-16 units', () => {
    const [, second] = chunkPages(pagesOf(`# 🎉🎉\n\n${'Fill. '.repeat(30)}`, `# Next\n\n${'More. '.repeat(30)}`), {
      chunkSize: 80,
      overlap: 0,
    })
    expect(second?.start_char).toBe('# 🎉🎉\n\n'.length + 'Fill. '.length * 30 + 2)
  })

  test('tables of contents and running headers score low, prose scores high', () => {
    const contents = Array.from(
      { length: 30 },
      (_, index) => `${index}.1 Some title . . . . . . . . . . . . . . . ${index + 3}`,
    ).join('\n')
    expect(chunkPages(pagesOf(contents), { chunkSize: 2000, overlap: 0 })[0]?.score).toBeLessThan(0.1)
    expect(chunkPages(pagesOf(filler(100)), { chunkSize: 2000, overlap: 0 })[0]?.score).toBe(1)
    const pages = Array.from({ length: 8 }, (_, index) => `Company handbook, page ${index + 1}\n\nA short remark.`)
    expect(chunkPages(pagesOf(...pages), { chunkSize: 2000, overlap: 0 })[0]?.score).toBeLessThan(0.5)
  })

  test('indexing_config is read with bounds and defaults', () => {
    expect(chunkOptionsFrom({})).toEqual({ chunkSize: 400, overlap: 50 })
    expect(chunkOptionsFrom(null)).toEqual({ chunkSize: 400, overlap: 50 })
    expect(chunkOptionsFrom({ chunk_size: 2000, overlap: 100 })).toEqual({ chunkSize: 2000, overlap: 100 })
    expect(chunkOptionsFrom({ chunk_size: 2000, chunk_overlap: 80 })).toEqual({ chunkSize: 2000, overlap: 80 })
    expect(chunkOptionsFrom({ chunk_size: 60, overlap: 400 })).toEqual({ chunkSize: 60, overlap: 30 })
    expect(chunkOptionsFrom({ chunk_size: -1, overlap: 'x' })).toEqual({ chunkSize: 50, overlap: 25 })
    expect(chunkOptionsFrom({ chunk_size: 1e9, overlap: 1e9 })).toEqual({ chunkSize: 4000, overlap: 2000 })
    expect(chunkOptionsFrom({ chunk_size: 99.9, overlap: -3 })).toEqual({ chunkSize: 99, overlap: 0 })
    for (const wrong of ['900', [900], { value: 900 }, true, null, NaN])
      expect(chunkOptionsFrom({ chunk_size: wrong, overlap: wrong })).toEqual({ chunkSize: 400, overlap: 50 })
    for (const wrong of ['x', [], 7, true])
      expect(chunkOptionsFrom(wrong as never)).toEqual({ chunkSize: 400, overlap: 50 })
    expect(chunkOptionsFrom({ strategy: 'page_index' })).toEqual({
      chunkSize: 400,
      overlap: 50,
      keepsSectionsApart: true,
    })
    expect(chunkOptionsFrom({ chunk_size: Infinity })).toEqual({ chunkSize: 400, overlap: 50 })
  })
})
