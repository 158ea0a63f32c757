// What screens show and ask for, without a browser.
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { rowsOf } from '../../web/src/lib/rows-of.ts'
import { withoutUnseen } from '../../web/src/lib/unseen.ts'

test('what cannot be seen in a text is escaped as in JSON, and nothing else', () => {
  for (const [text, shown] of [
    ['pay \u202eelpmaxe.robrah', 'pay \\u202eelpmaxe.robrah'],
    ['harbor\u200b.example\u2063', 'harbor\\u200b.example\\u2063'],
    ['\u{e0041}', '\\udb40\\udc41'],
    ['a\u200db\u00ad\u007f', 'a\\u200db\\u00ad\\u007f'],
    // Joiners of a script and of emoji, line breaks, and what is written from the right.
    ['نمی\u200cخواهم 👨\u200d👩 ✌\ufe0f\n\tשלום', 'نمی\u200cخواهم 👨\u200d👩 ✌\ufe0f\n\tשלום'],
  ] as const) {
    expect(withoutUnseen(text)).toBe(shown)
    const json = JSON.stringify({ text })
    expect(JSON.parse(withoutUnseen(json))).toEqual({ text })
  }
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
