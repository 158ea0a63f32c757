import { getDocumentProxy } from 'unpdf'
import { expect, test } from 'vitest'
import { writePdf } from '../../bench/support/pdf.ts'
import { prosePages } from '../../bench/support/prose.ts'

test('the documents of the bench are PDFs with the pages and the text they were made of, the same each time', async () => {
  const pages = prosePages(3, 7, 'zephyrine')
  const pdf = writePdf(pages)
  expect(Buffer.compare(Buffer.from(pdf), Buffer.from(writePdf(prosePages(3, 7, 'zephyrine'))))).toBe(0)
  const document = await getDocumentProxy(pdf, { verbosity: 0 })
  expect(document.numPages).toBe(3)
  for (const [index, lines] of pages.entries()) {
    const content = await (await document.getPage(index + 1)).getTextContent()
    const text = content.items.map((item) => ('str' in item ? item.str : '')).join('\n')
    expect(text.split('\n').filter(Boolean)).toEqual(lines.filter(Boolean))
  }
})

test('parentheses and backslashes survive', async () => {
  const document = await getDocumentProxy(writePdf([['a (b) \\ c']]), { verbosity: 0 })
  const content = await (await document.getPage(1)).getTextContent()
  expect(content.items.map((item) => ('str' in item ? item.str : '')).join('')).toBe('a (b) \\ c')
})
