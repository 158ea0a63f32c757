import { describe, expect, it } from 'vitest'
import {
  citationOf,
  citationsFor,
  createCitationFilter,
  excerptOf,
  stripCitationMarks,
} from '../../supabase/functions/_shared/citations.ts'
import { babble, createRandom, cut } from './support/random.ts'

const KEYS = new Set([1, 2, 3])

function filtered(pieces: string[], keys: ReadonlySet<number> = KEYS) {
  const filter = createCitationFilter(keys)
  const text = pieces.map((piece) => filter.push(piece)).join('') + filter.end()
  return { text, used: filter.used(), invalid: filter.invalidCount() }
}

describe('createCitationFilter', () => {
  it.each([
    ['A [1].', 'A [1].', [1], 0],
    ['A [9].', 'A.', [], 1],
    ['A [1, 9] b', 'A [1] b', [1], 1],
    ['A [2,1]', 'A [2][1]', [2, 1], 0],
    ['A [1-3]', 'A [1][2][3]', [1, 2, 3], 0],
    ['A [^2]', 'A [2]', [2], 0],
    ['A【3†source】.', 'A[3].', [3], 0],
    ['A [0]', 'A', [], 1],
    ['text [not a mark] and [ ] and []', 'text [not a mark] and [ ] and []', [], 0],
    ['in `code[9]` it stays', 'in `code[9]` it stays', [], 0],
    ['```\nx[9]\n```\nout [9]', '```\nx[9]\n```\nout', [], 1],
    ['open ` tick [9] here', 'open ` tick here', [], 1],
    ['ends with [1', 'ends with [1', [], 0],
    ['Zahl [10000]', 'Zahl [10000]', [], 0],
  ])('%j → %j', (text, expected, used, invalid) => {
    expect(filtered([text])).toEqual({ text: expected, used, invalid })
  })

  it('gives the same result however the text is cut', () => {
    const random = createRandom(42)
    const vocabulary = [
      '[',
      ']',
      '1',
      '2',
      '9',
      ',',
      ' ',
      '-',
      '`',
      '```',
      '\n',
      'word',
      '【',
      '】',
      '†',
      '^',
      '🦆',
      '(',
      '[1]',
      ' [9]',
    ]
    for (let round = 0; round < 3000; round++) {
      const text = babble(vocabulary, 1 + Math.floor(random() * 25), random)
      expect(filtered(cut(text, random))).toEqual(filtered([text]))
    }
  })

  it.each([
    ['spaces', ' '.repeat(300_000)],
    ['tabs', '\t'.repeat(300_000)],
    ['brackets', '[1,'.repeat(300_000)],
    ['backticks', '`a'.repeat(150_000)],
  ])(
    'reads 300,000 %s at once',
    (_name, text) => {
      expect(filtered([`${text}x [9].`]).text).toBe(`${text}x.`)
      expect(stripCitationMarks(`${text}x [9].`)).toBe(`${text}x.`)
    },
    20_000,
  )

  it('leaves no mark behind that resolves to nothing, outside of code', () => {
    const random = createRandom(1)
    const vocabulary = ['[1]', '[4]', ' [5, 2]', 'word ', '[', ']', '.', '7', '\n']
    for (let round = 0; round < 2000; round++) {
      const text = babble(vocabulary, 15, random)
      const once = filtered(cut(text, random)).text
      // A removed mark may leave two halves that form one; a second pass would find them.
      for (const [mark, key] of once.matchAll(/\[(\d{1,4})\]/g)) {
        if (!KEYS.has(Number(key))) expect(text, `kept ${mark}`).not.toContain(mark)
      }
    }
  })
})

describe('citations', () => {
  const item = {
    key: 2,
    text: 'Quay 7 closes at six.',
    itemId: 'c1',
    sourceId: 's1',
    sourceName: 'rules.pdf',
    meta: { pages: [3], start_char: 10, end_char: 31, score: 0.9 },
  }

  it('resolve to the stored span', () => {
    expect(citationOf(item)).toEqual({
      citation_key: 2,
      item_id: 'c1',
      source_id: 's1',
      text_excerpt: 'Quay 7 closes at six.',
      meta: { pages: [3], start_char: 10, end_char: 31, score: 0.9, chunk_id: 'c1', source_name: 'rules.pdf' },
    })
    expect(citationsFor([2], [{ ...item, key: 1 }, item])).toEqual([citationOf(item)])
  })

  it('of a whole document show the passage it was found by, as far as its text goes', () => {
    const passage = { start_char: 6, end_char: 11, pages: [2] }
    const meta = { start_char: 0, end_char: 17, pages: [1, 2, 3], passage }
    const item = { key: 1, text: 'Begin middle end.', itemId: 'c1', meta }
    expect(citationOf(item)).toMatchObject({ text_excerpt: 'middl', meta: { start_char: 6, end_char: 11, pages: [2] } })
    // The model has not seen the passage, only what comes before it.
    expect(citationOf({ ...item, text: 'Begin' })).toMatchObject({ text_excerpt: 'Begin', meta: { start_char: 0 } })
  })

  it('have excerpts of at most 300 characters, cut between characters', () => {
    const excerpt = excerptOf('🦆'.repeat(400))
    expect(Array.from(excerpt)).toHaveLength(300)
    expect(excerpt.isWellFormed()).toBe(true)
    expect(excerptOf('short')).toBe('short')
  })

  it('are taken out of the history', () => {
    expect(stripCitationMarks('Six o’clock [1], seven [2].')).toBe('Six o’clock, seven.')
  })
})
