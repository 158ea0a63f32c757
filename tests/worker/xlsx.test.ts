import { describe, expect, test } from 'vitest'
import { makeDocx, withStatedSize } from './bombs.ts'
import { extractFile, FIXTURES, openDocuments } from './documents.ts'
import {
  cell,
  encryptedOffice,
  makePackage,
  makePptx,
  makeXlsx,
  shape,
  stylesOf,
  textCell,
  type WorkbookParts,
} from './office.ts'

const read = (workbook: WorkbookParts, limits = {}) => extractFile(makeXlsx(workbook), 'x.xlsx', limits)
const row = (number: number, ...cells: string[]) => `<row r="${number}">${cells.join('')}</row>`
/** A sheet with the texts of a table, from A1 on. */
const table = (...rows: string[][]) =>
  rows
    .map((texts, index) =>
      row(index + 1, ...texts.map((text, column) => textCell(`${'ABCDEFG'[column]}${index + 1}`, text))),
    )
    .join('')
const one = (rows: string, more: Partial<WorkbookParts> = {}, around: { before?: string; after?: string } = {}) =>
  read({ sheets: [{ name: 'Berths', rows, ...around }], ...more })
const SIMPLE = table(['berth', 'length'], ['12', '40'])
const SIMPLE_TEXT = '# Berths\n\n| berth | length |\n| --- | --- |\n| 12 | 40 |'

describe('a spreadsheet', () => {
  test('becomes a page for each sheet, in the order of the workbook', async () => {
    const { outcome, pages, metadata } = await read({
      sheets: [
        { name: 'Berths &amp; cranes', rows: SIMPLE },
        { name: 'Tariff', rows: table(['what', 'euro'], ['a|b', '7']) },
        { name: 'Empty', rows: '<row r="1"><c r="A1" s="1"/></row>' },
      ],
      more: { 'docProps/core.xml': '<x><dc:title>Harbor</dc:title></x>' },
    })
    expect(outcome).toBe('text')
    expect(pages).toEqual([
      '# Berths & cranes\n\n| berth | length |\n| --- | --- |\n| 12 | 40 |',
      '# Tariff\n\n| what | euro |\n| --- | --- |\n| a\\|b | 7 |',
    ])
    expect(metadata).toMatchObject({ document_type: 'xlsx', title: 'Harbor', sheet_count: 3 })
  })

  test('shows shared and own strings, numbers, booleans, errors, results of formulas', async () => {
    const strings =
      '<si><t>one</t></si><si><r><t xml:space="preserve">rich </t></r><r><t>text</t></r><rPh sb="0" eb="1"><t>reading</t></rPh></si><si><t>two_x000D_\nlines _x0041_</t></si>'
    const cells = [
      ['shared', cell('B1', 0, 't="s"')],
      ['rich', cell('B2', 1, 't="s"')],
      ['lines', cell('B3', 2, 't="s"')],
      ['own', '<c r="B4" t="inlineStr"><is><r><t>own &lt;b&gt;</t></r><rPh><t>no</t></rPh></is></c>'],
      ['number', cell('B5', '0.30000000000000004')],
      ['true', cell('B6', 1, 't="b"')],
      ['false', cell('B7', 0, 't="b"')],
      ['error', cell('B8', '#DIV/0!', 't="e"')],
      ['sum', '<c r="B9"><f>SUM(B5:B6)</f><v>42</v></c>'],
      ['text of a formula', '<c r="B10" t="str"><f>A1&amp;"!"</f><v>ready</v></c>'],
      ['a formula with no result', '<c r="B11"><f>A1+A2</f></c>'],
      ['a formula that gives nothing', '<c r="B12" t="str"><f>""</f><v></v></c>'],
      ['ISO', cell('B13', '2024-03-01T10:00:00', 't="d"')],
    ]
    const rows = cells.map(([name, xml], index) =>
      row(index + 1, textCell(`A${index + 1}`, name as string), xml as string),
    )
    const { pages } = await one(rows.join(''), { strings })
    expect(pages[0]?.split('\n').slice(2)).toEqual([
      '| shared | one |',
      '| --- | --- |',
      '| rich | rich text |',
      '| lines | two lines A |',
      '| own | own <b> |',
      '| number | 0.3 |',
      '| true | TRUE |',
      '| false | FALSE |',
      '| error | #DIV/0! |',
      '| sum | 42 |',
      '| text of a formula | ready |',
      '| a formula with no result | =A1+A2 |',
      '| a formula that gives nothing |  |',
      '| ISO | 2024-03-01T10:00:00 |',
    ])
  })

  const DATES = {
    rows: row(
      1,
      ...['A', 'B', 'C', 'D', 'E', 'F'].map((column, index) => cell(`${column}1`, 44000.25, `s="${index}"`)),
    ),
    styles: stylesOf(['General', 14, 22, 'dd\\.mm\\.yyyy', '0.0%', '[h]:mm']),
  }
  test.each([
    ['1900', false, '| 44000.25 | 2020-06-18 | 2020-06-18 06:00 | 2020-06-18 | 4400025% | 1056006:00 |'],
    ['1904', true, '| 44000.25 | 2024-06-19 | 2024-06-19 06:00 | 2024-06-19 | 4400025% | 1056006:00 |'],
  ])('shows dates by the format of their cells, in the calendar of %s', async (_, is1904, line) => {
    const { pages } = await one(DATES.rows, { styles: DATES.styles, is1904 })
    expect(pages[0]).toContain(line)
  })

  test('reads formats with a condition, as some programs write them', async () => {
    const rows = row(1, cell('A1', 1234, 's="0"'), cell('B1', 44000, 's="1"'))
    const { pages } = await one(rows, { styles: stylesOf(['[>=1000]#,##0;0', 'yyyy-mm-dd']) })
    expect(pages[0]).toContain('| 1234 | 2020-06-18 |')
  })

  test('repeats a label in the cells it is merged over, and a long text not', async () => {
    const long = 'A remark about all of this. '.repeat(10).trim()
    const rows =
      row(1, textCell('A1', 'Quay'), textCell('B1', 'Length'), textCell('D1', 'Note')) +
      row(2, textCell('A2', 'North'), cell('B2', 40), cell('C2', 41), textCell('D2', long)) +
      row(3, cell('B3', 50), cell('C3', 51)) +
      row(4, cell('B4', 60))
    const after = '<mergeCells><mergeCell ref="B1:C1"/><mergeCell ref="A2:A3"/><mergeCell ref="D2:D4"/></mergeCells>'
    const { pages } = await one(rows, {}, { after })
    expect(pages[0]?.split('\n').slice(2)).toEqual([
      '| Quay | Length | Length | Note |',
      '| --- | --- | --- | --- |',
      `| North | 40 | 41 | ${long} |`,
      '| North | 50 | 51 |  |',
      '|  | 60 |  |  |',
    ])
  })

  test('leaves out empty rows and columns, and takes lines above the table for its title', async () => {
    const rows =
      row(3, textCell('B3', 'Tariff of 2026')) +
      row(4, textCell('B4', 'All in euro.')) +
      row(7, textCell('B7', 'what'), textCell('D7', 'price')) +
      row(9, textCell('B9', 'crane'), cell('D9', 7), '<c r="E9" s="1"/>', textCell('F9', '  '))
    const { pages } = await one(rows, {}, { after: '<mergeCells><mergeCell ref="B3:F3"/></mergeCells>' })
    expect(pages).toEqual([
      '# Berths\n\nTariff of 2026\n\nAll in euro.\n\n| what | price |\n| --- | --- |\n| crane | 7 |',
    ])
  })

  test('is a list where it has one column', async () => {
    expect((await one(table(['berth'], ['12'], ['14']))).pages).toEqual([
      '# Berths\n\n| berth |\n| --- |\n| 12 |\n| 14 |',
    ])
  })

  test('hidden sheets and columns are left out, rows and folded columns are not', async () => {
    const before =
      '<cols><col min="2" max="2" hidden="1"/><col min="3" max="3" hidden="1" outlineLevel="1"/><col min="4" max="4"/></cols>'
    const rows =
      row(1, textCell('A1', 'a'), textCell('B1', 'salary'), textCell('C1', 'c'), textCell('D1', 'd')) +
      `<row r="2" hidden="1">${textCell('A2', 'filtered')}${cell('B2', 99)}${cell('D2', 3)}</row>` +
      row(3, cell('B3', 98))
    const { pages, metadata } = await read({
      sheets: [
        { name: 'Shown', rows, before, state: 'visible' },
        { name: 'Lists', rows: SIMPLE, state: 'hidden' },
        { name: 'Deep', rows: SIMPLE, state: 'veryHidden' },
      ],
    })
    expect(pages).toEqual(['# Shown\n\n| a | c | d |\n| --- | --- | --- |\n| filtered |  | 3 |'])
    expect(metadata).toMatchObject({ sheet_count: 3, hidden_sheet_count: 2 })
  })

  test('a long sheet is divided, and each page says what it is', async () => {
    const rows = Array.from({ length: 600 }, (_, index) => ['berth', 'length'].map((word) => `${word} ${index}`))
    const title = row(1, textCell('A1', 'All of them'))
    const moved = table([''], ['no', 'what'], ...rows)
    const { pages } = await one(title + moved)
    expect(pages.length).toBeGreaterThan(3)
    const head = '| no | what |\n| --- | --- |\n'
    expect(pages[0]?.startsWith(`# Berths\n\nAll of them\n\n${head}| berth 0 |`)).toBe(true)
    for (const page of pages.slice(1)) expect(page.startsWith(`# Berths\n\n${head}| berth `)).toBe(true)
    const lines = pages.flatMap((page) => page.split('\n').filter((line) => line.startsWith('| berth ')))
    expect(lines).toHaveLength(600)
    for (const page of pages) expect(page.length).toBeLessThan(3200)
  })

  test('a wide header is repeated less often than it is long', async () => {
    const columns = Array.from({ length: 900 }, (_, index) => `<c t="inlineStr"><is><t>column ${index}</t></is></c>`)
    const rows = `<row>${columns.join('')}</row>`.repeat(30)
    const { pages } = await one(rows)
    const header = pages[0]?.split('\n')[2] as string
    expect(pages.length).toBeGreaterThan(5)
    expect(pages.join('').length).toBeLessThan(header.length * 30 * 1.6)
  })

  test('is read however its parts are named and its cells are placed', async () => {
    const xml =
      '<x:worksheet xmlns:x="m"><x:sheetData><x:row><x:c t="s"><x:v>0</x:v></x:c><x:c><x:v>2</x:v></x:c></x:row><x:row><x:c/><x:c><x:v>3</x:v></x:c></x:row></x:sheetData></x:worksheet>'
    const bytes = makePackage({
      '[Content_Types].xml': '<Types/>',
      'XL/Workbook.xml': `<x:workbook><x:sheets><x:sheet name="S" sheetId="1" d:id="R1"/></x:sheets></x:workbook>`,
      'xl/_rels/workbook.xml.rels':
        '<Relationships><Relationship Id="R1" Type="http://purl.oclc.org/ooxml/officeDocument/relationships/worksheet" Target="../xl/./Sheets/A.xml"/><Relationship Id="R2" Type="x/sharedStrings" Target="/xl/SHAREDstrings.xml"/></Relationships>',
      'xl/sheets/a.XML': xml,
      'xl/sharedStrings.xml': '<x:sst><x:si><x:t>name</x:t></x:si></x:sst>',
    })
    expect((await extractFile(bytes, 'x.xlsx')).pages).toEqual(['# S\n\n| name | 2 |\n| --- | --- |\n|  | 3 |'])
  })
})

describe('a spreadsheet that is not what it should be', () => {
  test.each([
    ['a shared string that is not there', { rows: row(1, cell('A1', 7, 't="s"')) }],
    ['a shared string of a negative number', { rows: row(1, cell('A1', -1, 't="s"')) }],
    ['a shared string named like a method', { rows: row(1, cell('A1', 'length', 't="s"')) }],
    ['a cell beyond the last row', { rows: row(1, cell('A1048577', 1)) }],
    ['a cell beyond the last column', { rows: row(1, cell('XFE1', 1)) }],
    ['a cell that is nowhere', { rows: row(1, cell('1A', 1)) }],
    ['a row that is nowhere', { rows: '<row r="x"><c><v>1</v></c></row>' }],
    ['tags that do not match', { rows: '<row><c></row></c>' }],
    ['a sheet that breaks off', { rows: SIMPLE, after: '<mergeCells' }],
    ['a merged range that is nowhere', { rows: SIMPLE, after: '<mergeCells><mergeCell ref="all"/></mergeCells>' }],
  ])('%s', async (_, sheet) => {
    const { outcome, metadata } = await read({ sheets: [{ name: 'S', ...sheet }], strings: '<si><t>x</t></si>' })
    expect(outcome).toBe('corrupt_document')
    expect(metadata.message).toContain('spreadsheet (XLSX)')
  })

  test('a sheet that is missing, or there twice', async () => {
    const twice = '<workbook><sheets><sheet name="A" r:id="rId1"/><sheet name="B" r:id="rId1"/></sheets></workbook>'
    const missing = '<Relationships><Relationship Id="rId1" Type="x/worksheet" Target="gone.xml"/></Relationships>'
    for (const more of [{ 'xl/workbook.xml': twice }, { 'xl/_rels/workbook.xml.rels': missing }] as const) {
      expect((await one(SIMPLE, { more })).outcome).toBe('corrupt_document')
    }
  })

  test('without cells, or with hidden sheets only, it has no text', async () => {
    expect((await one('')).outcome).toBe('empty_document')
    expect((await read({ sheets: [{ name: 'S', rows: SIMPLE, state: 'hidden' }] })).outcome).toBe('empty_document')
  })

  test('what it points at outside is not looked for', async () => {
    const links = [
      { id: 'rId9', kind: 'worksheet', target: 'https://127.0.0.1:1/sheet.xml', isExternal: true },
      { id: 'rId8', kind: 'worksheet', target: '../../../../etc/passwd' },
      { id: 'rId7', kind: 'sharedStrings', target: 'file:///etc/passwd', isExternal: true },
    ]
    const { pages } = await one(SIMPLE, { links })
    expect(pages).toEqual([SIMPLE_TEXT])
    const outside = '<workbook><sheets><sheet name="A" r:id="rId1"/><sheet name="B" r:id="rId9"/></sheets></workbook>'
    expect((await one(SIMPLE, { links, more: { 'xl/workbook.xml': outside } })).pages).toEqual([
      SIMPLE_TEXT.replace('Berths', 'A'),
    ])
    const climbing = '<workbook><sheets><sheet name="A" r:id="rId8"/></sheets></workbook>'
    expect((await one(SIMPLE, { links, more: { 'xl/workbook.xml': climbing } })).outcome).toBe('corrupt_document')
  })

  test('entities that expand are not expanded', async () => {
    const entities = Array.from({ length: 20 }, (_, index) => `<!ENTITY e${index + 1} "&e${index};&e${index};">`)
    const strings = `<si><t>&e20; &toString; text</t></si>`
    const type = `<!DOCTYPE x [<!ENTITY e0 "boom">${entities.join('')}]>`
    const { pages } = await one(row(1, cell('A1', 0, 't="s"')), {
      more: { 'xl/sharedStrings.xml': `${type}<sst>${strings}</sst>` },
    })
    expect(pages).toEqual(['# Berths\n\n| &e20; &toString; text |\n| --- |'])
  })

  test('its elements may be nested a hundred thousand deep', async () => {
    const deep = `${'<x>'.repeat(100_000)}${'</x>'.repeat(100_000)}`
    expect((await one(SIMPLE, {}, { after: deep })).pages).toEqual([SIMPLE_TEXT])
  })

  test('the size it claims and the ranges it merges cost nothing', async () => {
    const before = '<dimension ref="A1:XFD1048576"/><cols><col min="1" max="16384" width="9"/></cols>'
    const after = `<mergeCells>${'<mergeCell ref="A1:XFD1048576"/>'.repeat(60_000)}</mergeCells>`
    const { pages } = await one(SIMPLE, {}, { before, after })
    expect(pages).toEqual([SIMPLE_TEXT])
  })
})

describe('a spreadsheet that wants too much ends with limit_exceeded', () => {
  const diagonal = (length: number) =>
    Array.from({ length }, (_, index) => {
      const column = String.fromCharCode(65 + Math.floor(index / 26), 65 + (index % 26))
      return row(index + 1, cell(`${column}${index + 1}`, 1))
    }).join('')

  test.each([
    ['columns', `<row>${'<c><v>1</v></c>'.repeat(1001)}</row>`, '1,000 columns'],
    ['text by repetition', row(1, `<c t="s"><v>0</v></c>`.repeat(200)), '100,000 characters'],
    ['text by empty cells', diagonal(500), '100,000 characters'],
  ])('%s', async (_, rows, said) => {
    const { outcome, metadata } = await read(
      { sheets: [{ name: 'S', rows }], strings: `<si><t>${'x'.repeat(1000)}</t></si>` },
      { maxCharacters: 100_000 },
    )
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain(said)
  })

  test('sheets', async () => {
    const sheets = Array.from({ length: 501 }, (_, index) => ({ name: `S${index}`, rows: '' }))
    expect((await read({ sheets })).metadata.message).toContain('500 sheets')
  })

  test('cells', async () => {
    const sheet = { name: 'S', rows: '<row><c><v>1</v></c><c/></row>'.repeat(600) }
    const read = (maxCells: number) => extractFile(makeXlsx({ sheets: [sheet, sheet] }), 'x.xlsx', { maxCells })
    expect((await read(1200)).outcome).toBe('text')
    const { outcome, metadata } = await read(1199)
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('1,199 cells')
  })

  test('unpacked bytes of all its parts together', async () => {
    const bytes = makeXlsx({
      sheets: [
        { name: 'A', rows: SIMPLE, after: ' '.repeat(3 * 1024 * 1024) },
        { name: 'B', rows: SIMPLE, after: ' '.repeat(3 * 1024 * 1024) },
      ],
    })
    const read = (megabytes: number) => extractFile(bytes, 'x.xlsx', { maxDecompressedBytes: megabytes * 1024 * 1024 })
    expect((await read(7)).outcome).toBe('text')
    const { outcome, metadata } = await read(5)
    expect(outcome).toBe('limit_exceeded')
    expect(metadata.message).toContain('5 MB')
    const liar = withStatedSize(bytes, 'xl/worksheets/sheet1.xml', 1000)
    expect((await extractFile(liar, 'x.xlsx', { maxDecompressedBytes: 5 * 1024 * 1024 })).outcome).toBe(
      'corrupt_document',
    )
  })
})

describe('the type of an Office document', () => {
  const xlsx = makeXlsx({ sheets: [{ name: 'S', rows: SIMPLE }] })
  const docx = makeDocx('<w:document><w:body><w:p><w:r><w:t>text</w:t></w:r></w:p></w:body></w:document>')
  const pptx = makePptx([{ shapes: shape('<a:p><a:r><a:t>text</a:t></a:r></a:p>') }])

  test.each([
    ['x.xlsx', docx, 'The file is named .xlsx but is a Word document (DOCX).'],
    ['x.docx', xlsx, 'The file is named .docx but is a spreadsheet (XLSX).'],
    ['x.pptx', xlsx, 'The file is named .pptx but is a spreadsheet (XLSX).'],
    ['x.xlsx', pptx, 'The file is named .xlsx but is a presentation (PPTX).'],
  ])('has to be that of its name: %s', async (name, bytes, said) => {
    const { outcome, metadata } = await extractFile(bytes, name)
    expect(outcome).toBe('unsupported_type')
    expect(metadata.message).toContain(said)
  })

  test('is found where the name says nothing', async () => {
    for (const [bytes, type] of [
      [xlsx, 'xlsx'],
      [docx, 'docx'],
      [pptx, 'pptx'],
    ] as const) {
      expect((await extractFile(bytes, 'x.bin')).metadata.document_type).toBe(type)
    }
  })

  test('is that of its name where the archive holds several', async () => {
    const both = makePackage({
      'word/document.xml': '<w:document><w:p><w:r><w:t>a letter</w:t></w:r></w:p></w:document>',
      'xl/workbook.xml': '<workbook/>',
    })
    expect((await extractFile(both, 'x.xlsx')).outcome).toBe('empty_document')
    expect((await extractFile(both, 'x.docx')).pages).toEqual(['a letter'])
  })

  test('is not taken from a document inside it', async () => {
    const text = (bytes: Uint8Array) => new TextDecoder('latin1').decode(bytes)
    const bytes = makePackage({
      'xl/embeddings/word/document.xml': text(docx),
      'xl/embeddings/x.bin': 'word/document.xml ppt/presentation.xml',
      'xl/workbook.xml': '<workbook/>',
    })
    expect((await extractFile(bytes, 'x.xlsx')).outcome).toBe('empty_document')
  })

  test.each([
    ['a damaged archive', xlsx.subarray(0, 600), 'x.xlsx', 'corrupt_document'],
    ['no archive', new TextEncoder().encode('a,b\n1,2'), 'x.xlsx', 'corrupt_document'],
    ['no archive', new TextEncoder().encode('hello'), 'x.pptx', 'corrupt_document'],
    ['another archive', makePackage({ 'a.txt': 'a' }), 'x.xlsx', 'unsupported_type'],
    ['a binary spreadsheet', makePackage({ 'xl/workbook.bin': 'x' }), 'x.xlsx', 'unsupported_type'],
    ['an e-book', openDocuments(FIXTURES)!.read('markitdown/test.epub'), 'x.xlsx', 'unsupported_type'],
    ['one with a password', encryptedOffice(), 'x.xlsx', 'encrypted_document'],
    ['one with a password', encryptedOffice(), 'x.pptx', 'encrypted_document'],
    ['one of 1997', encryptedOffice().subarray(0, 20), 'x.xlsx', 'unsupported_type'],
  ])('%s named like one (%#)', async (_, bytes, name, outcome) => {
    expect((await extractFile(bytes, name)).outcome).toBe(outcome)
  })
})
