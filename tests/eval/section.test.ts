import { describe, expect, test } from 'vitest'
import { fallsShort, formatSection } from '../../eval/support/section.ts'

describe('a bar', () => {
  test('is compared as it is printed', () => {
    expect(fallsShort({ name: 'text', measured: 0.6946, atLeast: 0.695 })).toBe(false)
    expect(fallsShort({ name: 'text', measured: 0.6944, atLeast: 0.695 })).toBe(true)
    expect(fallsShort({ name: 'text', measured: 0.7, atLeast: 0.695 })).toBe(false)
  })

  test('is not met by what could not be measured', () => {
    expect(fallsShort({ name: 'text', measured: Number.NaN, atLeast: 0 })).toBe(true)
  })
})

test('a section prints its table, what became of each bar, and its notes', () => {
  const printed = formatSection({
    title: 'Retrieval',
    columns: ['collection', 'text'],
    rows: [
      ['a', '0.500'],
      ['a longer name', '1.000'],
    ],
    bars: [
      { name: 'a text', measured: 0.5, atLeast: 0.6 },
      { name: 'b text', measured: 1, atLeast: 0.6 },
    ],
    notes: ['Approximate.'],
  })
  expect(printed.split('\n')).toEqual([
    'Retrieval',
    '',
    'collection      text',
    'a              0.500',
    'a longer name  1.000',
    '',
    'short  a text: 0.500, bar 0.600',
    'met    b text: 1.000, bar 0.600',
    'Approximate.',
  ])
})
