// What screens show and ask for, without a browser.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { isTooMuchToParse } from '../../web/src/lib/markdown/bounds.ts'
import { rowsOf } from '../../web/src/lib/rows-of.ts'
import { withoutUnseen } from '../../web/src/lib/unseen.ts'

test('what cannot be seen in a text is escaped as in JSON, and nothing else', () => {
  for (const [text, shown] of [
    ['pay \u202eelpmaxe.robrah', 'pay \\u202eelpmaxe.robrah'],
    ['harbor\u200b.example\u2063', 'harbor\\u200b.example\\u2063'],
    ['\u{e0041}', '\\udb40\\udc41'],
    ['a\u200db\u00ad\u007f', 'a\\u200db\\u00ad\\u007f'],
    // Joiners and forms without anything that they belong to: as many as one likes would say something unseen.
    ['é\u200d\u200c\u200dx', 'é\u200d\\u200c\\u200dx'],
    ['é\u200d\ufe0f\u200d\ufe0fx', 'é\u200d\\ufe0f\\u200d\\ufe0fx'],
    ['é\ufe0f\ufe0e', 'é\ufe0f\\ufe0e'],
    ['a\ufe0f\ufe00é\ufe01', 'a\\ufe0f\\ufe00é\\ufe01'],
    ['\u180b\u180f\u17b4\u17b5\u2800\u{e0100}', '\\u180b\\u180f\\u17b4\\u17b5\\u2800\\udb40\\udd00'],
    ['one\r\ntwo\rthree', 'one\r\ntwo\\u000dthree'],
    ['❤\ufe0f\u200d🔥', '❤\ufe0f\u200d🔥'],
    // Joiners of a script and of emoji, line breaks, and what is written from the right.
    ['نمی\u200cخواهم 👨\u200d👩 ✌\ufe0f\n\tשלום', 'نمی\u200cخواهم 👨\u200d👩 ✌\ufe0f\n\tשלום'],
  ] as const) {
    expect(withoutUnseen(text)).toBe(shown)
    const json = JSON.stringify({ text })
    expect(JSON.parse(withoutUnseen(json))).toEqual({ text })
  }
})

test('of texts only those are left unparsed that would keep the page busy', () => {
  const table = (rows: number) => `| a | b |\n| - | - |\n${'| c | d |\n'.repeat(rows)}`
  for (const text of [
    ...[']'.repeat(10_000), '!['.repeat(2_000), '*_'.repeat(2_000), table(1_300)],
    ...[`${'- '.repeat(2_000)}x`, `${'1. '.repeat(100)}x`, `${'> '.repeat(100)}x`, `a\n\n${'> - '.repeat(60)}x`],
    // Nested further on each line.
    Array.from({ length: 300 }, (_, level) => `${'  '.repeat(level)}- x`).join('\n'),
  ])
    expect(isTooMuchToParse(text), text.slice(0, 40)).toBe(true)
  for (const text of [
    ...['', 'A [link](https://a.example), **bold**!', '[a](b) '.repeat(300), table(200)],
    ...['- a\n'.repeat(2_000), '> > a\n'.repeat(500), `${'- '.repeat(20)}x`, '-'.repeat(80), '\n'.repeat(10_000)],
  ])
    expect(isTooMuchToParse(text), text.slice(0, 40)).toBe(false)
})

test('rows of many ids are asked for in addresses that servers take', async () => {
  const ids = Array.from({ length: 430 }, () => randomUUID())
  const asked: string[] = []
  const rows = await rowsOf(ids, async (some) => {
    asked.push(some.join(','))
    return some
  })
  expect(rows).toEqual(ids)
  expect(Math.max(...asked.map((address) => address.length))).toBeLessThan(4_000)
  expect(await rowsOf([], () => Promise.reject(new Error('nothing to ask for')))).toEqual([])
})
