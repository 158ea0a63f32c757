import { strToU8 } from 'fflate'
import { zip } from './bombs.ts'

// Spreadsheets and presentations for tests, written as the programs write them, with as little as a reader needs.

const OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'

/** What a part points at: the kind of thing, its target, and whether that lies outside. */
type Link = { id: string; kind: string; target: string; isExternal?: boolean }

const relationships = (links: Link[]): string =>
  `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${links
    .map(
      ({ id, kind, target, isExternal }) =>
        `<Relationship Id="${id}" Type="${OFFICE}/${kind}" Target="${target}"${isExternal ? ' TargetMode="External"' : ''}/>`,
    )
    .join('')}</Relationships>`

/** An archive of parts given as text. */
export const makePackage = (parts: Record<string, string>): Uint8Array =>
  zip(Object.fromEntries(Object.entries(parts).map(([name, text]) => [name, strToU8(text)])))

/** One worksheet: its rows as XML, what stands before and after them. */
export type SheetParts = {
  name: string
  rows: string
  before?: string
  after?: string
  state?: 'visible' | 'hidden' | 'veryHidden'
}

export type WorkbookParts = {
  sheets: SheetParts[]
  /** Items of the shared strings, as XML. */
  strings?: string
  /** What the style sheet holds. */
  styles?: string
  is1904?: boolean
  /** More parts of the archive, or other ones. */
  more?: Record<string, string>
  /** More that the workbook points at. */
  links?: Link[]
}

/** A cell with a number, or with anything else by its `t`. */
export const cell = (reference: string, value: string | number, attributes = ''): string =>
  `<c r="${reference}" ${attributes}><v>${value}</v></c>`

/** A cell with a text of its own. */
export const textCell = (reference: string, text: string): string =>
  `<c r="${reference}" t="inlineStr"><is><t>${text}</t></is></c>`

export function makeXlsx({ sheets, strings, styles, is1904, more = {}, links = [] }: WorkbookParts): Uint8Array {
  const entries = sheets.map(
    ({ name, state }, index) =>
      `<sheet name="${name}" sheetId="${index + 1}" ${state ? `state="${state}"` : ''} r:id="rId${index + 1}"/>`,
  )
  const own = sheets.map((_, index) => ({
    id: `rId${index + 1}`,
    kind: 'worksheet',
    target: `worksheets/sheet${index + 1}.xml`,
  }))
  return makePackage({
    '[Content_Types].xml': '<Types/>',
    '_rels/.rels': relationships([{ id: 'rId1', kind: 'officeDocument', target: 'xl/workbook.xml' }]),
    'xl/workbook.xml': `<workbook xmlns:r="${OFFICE}"><workbookPr${is1904 ? ' date1904="1"' : ''}/><sheets>${entries.join('')}</sheets></workbook>`,
    'xl/_rels/workbook.xml.rels': relationships([
      ...own,
      { id: 'rIdStyles', kind: 'styles', target: '/xl/styles.xml' },
      { id: 'rIdStrings', kind: 'sharedStrings', target: 'sharedStrings.xml' },
      ...links,
    ]),
    ...Object.fromEntries(
      sheets.map(({ rows, before = '', after = '' }, index) => [
        `xl/worksheets/sheet${index + 1}.xml`,
        `<?xml version="1.0"?><worksheet>${before}<sheetData>${rows}</sheetData>${after}</worksheet>`,
      ]),
    ),
    ...(strings === undefined ? {} : { 'xl/sharedStrings.xml': `<sst>${strings}</sst>` }),
    ...(styles === undefined ? {} : { 'xl/styles.xml': `<styleSheet>${styles}</styleSheet>` }),
    ...more,
  })
}

/** Styles of which the n-th shows numbers by the n-th of these formats; a number is that of a built-in one. */
export function stylesOf(formats: (string | number)[]): string {
  const own = formats.map((format, index) =>
    typeof format === 'string' ? `<numFmt numFmtId="${164 + index}" formatCode="${format}"/>` : '',
  )
  const styles = formats.map(
    (format, index) => `<xf numFmtId="${typeof format === 'string' ? 164 + index : format}" applyNumberFormat="1"/>`,
  )
  return `<numFmts>${own.join('')}</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs>${styles.join('')}</cellXfs>`
}

/** One slide: its shapes as XML, its notes, what it points at, and the parts that this is. */
export type SlideParts = {
  shapes: string
  notes?: string
  isHidden?: boolean
  links?: Link[]
  parts?: Record<string, string>
}

const NAMES = `xmlns:a="a" xmlns:p="p" xmlns:r="${OFFICE}"`

/** Paragraphs in a shape; `placeholder` is the XML of its `p:ph`, none for a text box. */
export const shape = (paragraphs: string, placeholder = ''): string =>
  `<p:sp><p:nvSpPr><p:cNvPr id="1" name="x"/><p:nvPr>${placeholder}</p:nvPr></p:nvSpPr><p:txBody><a:lstStyle><a:lvl1pPr><a:buChar char="•"/></a:lvl1pPr></a:lstStyle>${paragraphs}</p:txBody></p:sp>`

export const TITLE = '<p:ph type="title"/>'
export const CONTENT = '<p:ph idx="1"/>'

export const paragraph = (text: string, properties = ''): string =>
  `<a:p>${properties}<a:r><a:rPr lang="en"/><a:t>${text}</a:t></a:r></a:p>`

/** @param order Positions of the slides in the order in which they are shown; that of the parts when absent. */
export function makePptx(slides: SlideParts[], order = slides.map((_, index) => index)): Uint8Array {
  const parts: Record<string, string> = {
    '[Content_Types].xml': '<Types/>',
    '_rels/.rels': relationships([{ id: 'rId1', kind: 'officeDocument', target: 'ppt/presentation.xml' }]),
    'docProps/core.xml': '<cp:coreProperties><dc:title>Quay &amp; crane</dc:title></cp:coreProperties>',
    'ppt/presentation.xml': `<p:presentation ${NAMES}><p:sldIdLst>${order
      .map((index) => `<p:sldId id="${256 + index}" r:id="rId${index + 1}"/>`)
      .join('')}</p:sldIdLst></p:presentation>`,
    'ppt/_rels/presentation.xml.rels': relationships(
      slides.map((_, index) => ({ id: `rId${index + 1}`, kind: 'slide', target: `slides/slide${index + 1}.xml` })),
    ),
  }
  for (const [index, { shapes, notes, isHidden, links = [], parts: more = {} }] of slides.entries()) {
    const number = index + 1
    const toNotes = { id: 'rIdNotes', kind: 'notesSlide', target: `../notesSlides/notesSlide${number}.xml` }
    parts[`ppt/slides/slide${number}.xml`] =
      `<p:sld ${NAMES}${isHidden ? ' show="0"' : ''}><p:cSld><p:spTree>${shapes}</p:spTree></p:cSld></p:sld>`
    parts[`ppt/slides/_rels/slide${number}.xml.rels`] = relationships([...(notes ? [toNotes] : []), ...links])
    if (notes) {
      parts[`ppt/notesSlides/notesSlide${number}.xml`] =
        `<p:notes ${NAMES}><p:cSld><p:spTree>${shape(paragraph('7'), '<p:ph type="sldNum"/>')}${shape(paragraph(notes), '<p:ph type="body" idx="1"/>')}</p:spTree></p:cSld></p:notes>`
    }
    Object.assign(parts, more)
  }
  return makePackage(parts)
}

/** The begin of an Office file with a password, and the name by which it is known. */
export function encryptedOffice(): Uint8Array {
  const name = [...'EncryptedPackage'].flatMap((character) => [character.charCodeAt(0), 0])
  return Uint8Array.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1, ...Array<number>(64).fill(0), ...name])
}
