import { describe, expect, test } from 'vitest'
import { chunkPages, type Chunk } from '../../supabase/functions/_shared/ingestion/chunk/chunk.ts'
import { readBlocks } from '../../supabase/functions/_shared/ingestion/chunk/blocks.ts'
import { scoreOf } from '../../supabase/functions/_shared/ingestion/chunk/score.ts'
import { extractCsv } from '../../supabase/functions/_shared/ingestion/extract/csv.ts'
import { detectType } from '../../supabase/functions/_shared/ingestion/extract/detect-type.ts'
import { extractHtml } from '../../supabase/functions/_shared/ingestion/extract/html.ts'
import { DEFAULT_LIMITS } from '../../supabase/functions/_shared/ingestion/extract/limits.ts'
import { extractMarkdown } from '../../supabase/functions/_shared/ingestion/extract/markdown.ts'
import { pageText } from '../../supabase/functions/_shared/ingestion/extract/pdf-lines.ts'
import { sanitizeText } from '../../supabase/functions/_shared/ingestion/extract/sanitize.ts'
import { readXml, XmlError } from '../../supabase/functions/_shared/ingestion/extract/xml.ts'
import { randomNumbers } from './random.ts'

/** What takes quadratic time takes many minutes at these sizes; what takes linear time less than a second or so. */
const GENEROUS = 60_000
const MEGABYTE = 1_000_000

const filled = (part: string, length = MEGABYTE): string =>
  part.repeat(Math.ceil(length / part.length)).slice(0, length)
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Offsets are exact, every chunk goes further than the one before, and nothing but white space is left out. */
function expectExact(text: string, chunks: Chunk[]): void {
  const wrong = chunks.filter(
    (chunk, index) =>
      chunk.text !== text.slice(chunk.start_char, chunk.end_char) ||
      chunk.text !== chunk.text.trim() ||
      chunk.end_char <= (chunks[index - 1]?.end_char ?? 0),
  )
  expect(wrong).toEqual([])
  let end = 0
  const gaps = chunks.map((chunk) => {
    const gap = text.slice(end, chunk.start_char)
    end = chunk.end_char
    return gap
  })
  expect(`${gaps.join('')}${text.slice(end)}`.trim()).toBe('')
}

describe('chunking takes time in proportion to the text, whatever the text', { timeout: GENEROUS }, () => {
  const texts: Record<string, string> = {
    'headings with spaces before their last word': filled(`# a${' '.repeat(5_980)}x\n`),
    'one heading full of spaces': `# a${filled(' ', 2 * MEGABYTE)}x`,
    'one heading full of hashes': `# ${filled('#', 2 * MEGABYTE)}x`,
    'one heading full of hashes and spaces': `# ${filled('# ', 2 * MEGABYTE)}x`,
    'nothing but headings': filled('# a\n'),
    hashes: filled('#', 2 * MEGABYTE),
    dots: filled('.'),
    'dots and spaces': filled('. '),
    'dots and numbers': filled('. 1 2 3 '),
    'one table row': filled('| a ', 2 * MEGABYTE),
    pipes: filled('|', 2 * MEGABYTE),
    'rows of one pipe': filled('|\n'),
    backticks: filled('`', 2 * MEGABYTE),
    fences: filled('```\n~~~\n'),
    'a fence that is never closed': `\`\`\`\n${filled('a\n')}~~~`,
    brackets: filled('[', 2 * MEGABYTE),
    'list items with brackets': filled('- [\n'),
    underlines: filled(`a\n${'='.repeat(3_000)} x\n`),
    'paragraphs of one letter': filled('a\n\n'),
    'spaces between two letters': `a${filled(' ', 2 * MEGABYTE)}b`,
  }
  test.each(Object.entries(texts))('%s', (_, text) => {
    for (const options of [
      { chunkSize: 50, overlap: 25 },
      { chunkSize: 4_000, overlap: 2_000 },
    ]) {
      expectExact(text, chunkPages([{ page_number: 1, text }], options))
    }
  })

  test('eight million characters without a space', () => {
    const text = filled('1', 8 * MEGABYTE)
    const chunks = chunkPages([{ page_number: 1, text }], { chunkSize: 50, overlap: 0 }, Infinity)
    expect(chunks).toHaveLength(80_000)
    expectExact(text, chunks)
  })

  test('a heading and its closing marks', () => {
    const title = (line: string) => readBlocks(line)[0]?.title ?? null
    expect(title(`# a${filled(' ')}x`)).toHaveLength(200)
    expect(title(`# a${filled(' ')}${filled('#')}`)).toBe('a')
    expect(title(`# ${filled('#')}`)).toBeNull()
    expect(title(`#${filled(' ')}`)).toBeNull()
    const cases: [string, string | null][] = [
      ['# Title', 'Title'],
      ['   ###### Title   ', 'Title'],
      ['# Title ##', 'Title'],
      ['#\tTitle\t#\t', 'Title\t#'],
      ['# Title # two', 'Title # two'],
      ['# Title \\#', 'Title \\'],
      ['# Title #  ', 'Title #'],
      ['# C#', 'C'],
      ['# # #', '#'],
      ['# #', null],
      ['#', null],
      ['# ', null],
      ['#Title', null],
      ['    # Title', null],
      ['####### Title', null],
    ]
    for (const [line, expected] of cases) expect([line, title(line)]).toEqual([line, expected])
  })

  test('a title is not cut inside a surrogate pair, which Postgres would refuse', () => {
    const [block] = readBlocks(`# ${'a'.repeat(199)}🎉 and more`)
    expect(block?.title).toBe('a'.repeat(199))
  })

  test('leaders at the end of a line', () => {
    const isNoise = (line: string) => scoreOf(line, new Set()) === 0
    expect(isNoise(`Words ${filled('.', 2 * MEGABYTE)}x`)).toBe(false)
    expect(isNoise(`Words ${filled('. ', 2 * MEGABYTE)}x`)).toBe(false)
    expect(isNoise(`Words ${filled('.', 2 * MEGABYTE)}${filled(' ')}12`)).toBe(true)
    expect(isNoise(`Words ${filled('1', 2 * MEGABYTE)}x`)).toBe(false)
    for (const line of [
      'Words ....',
      'Words....7',
      'Words . . . . 7',
      'Words .\t.\t.\t.\t 7',
      'Words .. 7',
      'Words ...7',
    ]) {
      expect([line, isNoise(line)]).toEqual([line, true])
    }
    for (const line of [
      'Words ...',
      'Words.. 7',
      'Words . . . 7',
      'Words . .  . . 7',
      'Words .... 7 x',
      'Words 3.2.1.0',
      '7 a',
    ]) {
      expect([line, isNoise(line)]).toEqual([line, false])
    }
  })
})

describe('headings that fill chunks by themselves', () => {
  test('share chunks, and the last stays with the text after it', () => {
    const text = `${'# Heading\n'.repeat(300)}\nText under the last heading.`
    const chunks = chunkPages([{ page_number: 1, text }], { chunkSize: 50, overlap: 0 })
    expectExact(text, chunks)
    expect(chunks.length).toBeLessThan(30)
    expect(chunks.at(-1)?.text).toMatch(/# Heading\n\nText under the last heading\.$/)
  })
})

describe('extraction takes time in proportion to the text, whatever the text', { timeout: GENEROUS }, () => {
  test('sanitizing', () => {
    const spaces = filled(' ', 2 * MEGABYTE)
    expect(sanitizeText(`a${spaces}b`)).toBe(`a${spaces}b`)
    expect(sanitizeText(`a${spaces}\nb${spaces}`)).toBe('a\nb')
    expect(sanitizeText(`${filled('\n')}a${filled('\n')}b${filled(' \n')}`)).toBe('a\n\nb')
  })

  test('sanitizing does what its simple patterns would', () => {
    const simple = (text: string) =>
      text
        .replace(/[^\S\n]+\n/g, '\n')
        .replace(/\n{3,}/g, '\n\n')
        .replace(/^\n+|\s+$/g, '')
    for (let seed = 1; seed <= 3_000; seed++) {
      const { between, pick } = randomNumbers(seed)
      const text = Array.from({ length: between(0, 20) }, () =>
        pick([' ', '  ', '\t', '\n', '\n\n', '\u00a0', 'a', '.']),
      ).join('')
      expect(sanitizeText(text)).toBe(simple(text))
    }
  })

  const markdown = (text: string) => extractMarkdown(bytes(text)).pages.join('\n\n')

  test.each([
    ['comments that do not end', filled('<!--')],
    ['image marks', filled('![')],
    ['image marks before one bracket', `${filled('![')}]`],
    ['embedded images that do not end', filled('![](data:')],
    [
      'list marks before comments that do not begin a block',
      `${filled('- ')}x${filled('<!--')}a --> b`.replace('a', '\n\na'),
    ],
    ['front matter of colons', `---\na:\n${filled('a:')}a\n---`],
  ])('Markdown: %s', (_, text) => {
    const withoutSpace = (written: string) => written.replace(/\s/g, '')
    expect(withoutSpace(markdown(text))).toBe(withoutSpace(text))
  })

  test('Markdown: a title with spaces', () => {
    const title = (line: string) => extractMarkdown(bytes(`---\n${line}\nauthor: x\n---\n\nText.`)).metadata['title']
    expect(title(`title: a${filled(' ', 2 * MEGABYTE)}b`)).toBe('a b')
    expect(title('title: "Two words"')).toBe('Two words')
    expect(title("title:   'Two words'  ")).toBe('Two words')
    expect(title('title: It’s "here"')).toBe('It’s "here')
    expect(title('title:')).toBeUndefined()
    expect(title(`title: ${'a'.repeat(299)}🎉`)).toBe('a'.repeat(299))
  })

  test('Markdown: comments and embedded images go as the simple patterns would have it', () => {
    const simple = (text: string) => text.replace(/<!--[\s\S]*?-->/g, '').replace(/!\[([^\]]*)\]\(data:[^)]*\)/g, '$1')
    for (let seed = 1; seed <= 3_000; seed++) {
      const { between, pick } = randomNumbers(seed)
      const parts = ['<!--', '-->', '--', '>', '![', ']', '](data:', '(data:', ')', 'a', ' b', '!', '[']
      const text = `x${Array.from({ length: between(0, 16) }, () => pick(parts)).join('')}x`
      expect(markdown(text)).toBe(sanitizeText(simple(text)))
    }
  })

  test('CSV: cells with spaces', () => {
    const { pages } = extractCsv(bytes(`a,b\n"x${filled(' ', 2 * MEGABYTE)}y","one \n  two  three"`), DEFAULT_LIMITS)
    expect(pages.join('')).toContain('y | one two  three |')
  })

  test('CSV: short rows under a header of very many columns', () => {
    const rows = bytes(`${filled(',', 200_000)}\n${filled('1\n', 200_000)}`)
    expect(() => extractCsv(rows, DEFAULT_LIMITS)).toThrow(
      'This document holds more than 10,000,000 characters of text.',
    )
    expect(extractCsv(bytes('a,b,c\n1\n1,2\n1,2,3,4'), DEFAULT_LIMITS).pages).toEqual([
      '| a | b | c |\n| --- | --- | --- |\n| 1 |  |  |\n| 1 | 2 |  |\n| 1 | 2 | 3 | 4 |',
    ])
  })

  test('HTML: titles that do not end', () => {
    const { pages, metadata } = extractHtml(
      bytes(`<!doctype html><body><p>Text</p></body><!-- ${filled('<title ')} -->`),
    )
    expect(pages).toEqual(['Text'])
    expect(metadata).not.toHaveProperty('title')
  })

  test('HTML: tags that do not end, in a page that is too deep', () => {
    const deep = '<div>'.repeat(600)
    for (const part of ['<a ', '<a "', `<a '"`, '<b x', '<a href="x" ', '</b>'])
      expect(() => extractHtml(bytes(`<!doctype html><body>${deep}${filled(part)}`))).toThrow('within each other')
    for (const part of ['x', '"', "'", ' ', '=""'])
      expect(() => extractHtml(bytes(`<!doctype html><body>${deep}x<a ${filled(part)}`))).toThrow('within each other')
  })

  test('HTML: a title of characters that Postgres refuses', () => {
    const { metadata } = extractHtml(bytes('<!doctype html><title>A&#0;B&#55357; C</title><body>Text</body>'))
    expect(metadata['title']).toBe('AB C')
  })

  test('a file that begins with many comments', () => {
    expect(detectType(bytes(`${filled('<!---->', 980)}text`), '.md')).toBe('markdown')
    expect(detectType(bytes(`${filled('<!---->', 980)}<html>`), '.txt')).toBe('html')
    expect(detectType(bytes('<?xml version="1.0"?> <!-- a --> <!-- b -->\n<!DOCTYPE html>'), '.txt')).toBe('html')
    expect(detectType(bytes('<!-- a <html> -->text'), '.md')).toBe('markdown')
  })

  test('XML: a tag with a long word', () => {
    const events = [...readXml(`<a ${filled('x')} b = "1" c='2'></a>`)]
    expect(events[0]).toEqual({ type: 'open', name: 'a', attributes: { b: '1', c: '2' } })
  })

  test('XML: values with the characters that end a tag or a value', () => {
    const events = [...readXml(`<a b="1 > 0" c='>"/>'><d e="/"/>text > text</a>`)]
    expect(events).toEqual([
      { type: 'open', name: 'a', attributes: { b: '1 > 0', c: '>"/>' } },
      { type: 'open', name: 'd', attributes: { e: '/' } },
      { type: 'close', name: 'd' },
      { type: 'text', text: 'text > text' },
      { type: 'close', name: 'a' },
    ])
    const many = 'b=">" '.repeat(300_000)
    expect([...readXml(`<a ${many}></a>`)]).toHaveLength(2)
    expect(() => [...readXml(`<a ${many}c="`)]).toThrow(XmlError)
  })

  test('PDF: a page of very many lines, all of them hyphenated', () => {
    const lines = Array.from({ length: 200_000 }, () => ({ text: 'word-', size: 10, y: 0 }))
    expect(pageText(lines, 10)).toBe(`${'word'.repeat(200_000)}-`)
  })
})
