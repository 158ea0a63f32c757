import { describe, expect, it } from 'vitest'
import { cleanFileName, fileTypeOf, refuseForeignContent } from '../../supabase/functions/_shared/file-types.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('cleanFileName', () => {
  it.each([
    ['report.pdf', 'report.pdf'],
    ['../../etc/passwd.txt', 'passwd.txt'],
    ['C:\\Users\\me\\plan.docx', 'plan.docx'],
    ['a\u0000b\nc.pdf', 'abc.pdf'],
    ['invoice\u202efdp.exe.pdf', 'invoicefdp.exe.pdf'],
    ['.hidden.md', 'hidden.md'],
    ['trailing.pdf. ', 'trailing.pdf'],
    ['  two   words .txt', 'two words .txt'],
    ['Größe 漢字 🦆.md', 'Größe 漢字 🦆.md'],
    ['e\u0301.txt', 'é.txt'],
  ])('%j → %j', (name, expected) => {
    expect(cleanFileName(name)).toBe(expected)
  })

  it('keeps the extension of a name that is too long, and cuts between characters', () => {
    const name = cleanFileName(`${'🦆'.repeat(300)}.pdf`)
    expect(name.endsWith('🦆.pdf')).toBe(true)
    expect(Array.from(name)).toHaveLength(200)
  })

  it.each([
    ['dots', 'a' + '.'.repeat(500_000) + 'b.md'],
    ['white space', 'a' + ' '.repeat(500_000) + 'b.md'],
    ['folders', 'a/'.repeat(500_000) + 'b.md'],
  ])(
    'reads names of half a million %s at once',
    (_name, name) => {
      expect(cleanFileName(name)).toMatch(/b\.md$/)
    },
    10_000,
  )

  it.each(['', '.', '..', '../', '\u0000', ' . '])('refuses %j', (name) => {
    expect(() => cleanFileName(name)).toThrow('The file needs a name.')
  })
})

describe('fileTypeOf', () => {
  it('goes by the extension, in any case', () => {
    expect(fileTypeOf('A.PDF')).toEqual({ fileType: '.pdf', mimeType: 'application/pdf' })
    expect(fileTypeOf('a.tar.md').fileType).toBe('.md')
    expect(fileTypeOf('Figures.XLSX').fileType).toBe('.xlsx')
    expect(fileTypeOf('talk.pptx').fileType).toBe('.pptx')
  })

  it.each([
    ['x.exe', "'.exe'"],
    ['x.xls', "'.xls'"],
    ['x.ppt', "'.ppt'"],
    ['x', "''"],
    ['x.', "'.'"],
    ['x.constructor', "'.constructor'"],
  ])('refuses %s', (name, shown) => {
    expect(() => fileTypeOf(name)).toThrow(`Unsupported file type ${shown}`)
  })
})

describe('refuseForeignContent', () => {
  it.each([
    ['.pdf', '%PDF-1.7'],
    ['.pdf', 'damaged beyond recognition'],
    ['.txt', 'MZ is how this sentence begins'],
    ['.md', '# hi'],
  ])('lets %s with %j pass', (type, text) => {
    expect(() => refuseForeignContent(type, bytes(text))).not.toThrow()
  })

  it.each(['.docx', '.xlsx', '.pptx'])('lets an encrypted %s pass, for extraction to explain', (type) => {
    expect(() =>
      refuseForeignContent(type, new Uint8Array([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1])),
    ).not.toThrow()
  })

  it.each([
    ['.txt', '%PDF-1.7', 'a PDF document'],
    ['.pdf', 'PK\u0003\u0004', 'a ZIP archive'],
    ['.docx', '%PDF-1.7', 'a PDF document'],
    ['.xlsx', '%PDF-1.7', 'a PDF document'],
    ['.csv', 'PK\u0003\u0004', 'a ZIP archive'],
    ['.pptx', 'GIF89a', 'a GIF image'],
    ['.md', '\u007fELF', 'a program'],
    ['.html', 'GIF89a', 'a GIF image'],
  ])('refuses %s with %j', (type, text, what) => {
    expect(() => refuseForeignContent(type, bytes(text))).toThrow(`but is ${what}`)
  })
})
