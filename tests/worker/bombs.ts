import { crc32, deflateRawSync, deflateSync } from 'node:zlib'
import { Zip, strToU8, type ZipInputFile } from 'fflate'

/** A PDF of the given objects, numbered from 1; the first is the catalog. */
export function makePdf(objects: (string | { dictionary: string; stream: Uint8Array })[]): Uint8Array {
  const parts: Uint8Array[] = [strToU8('%PDF-1.7\n')]
  let length = (parts[0] as Uint8Array).length
  const offsets: number[] = []
  const write = (bytes: Uint8Array) => {
    parts.push(bytes)
    length += bytes.length
  }
  objects.forEach((object, index) => {
    offsets.push(length)
    write(strToU8(`${index + 1} 0 obj\n`))
    if (typeof object === 'string') write(strToU8(object))
    else {
      write(strToU8(`<< ${object.dictionary} /Length ${object.stream.length} >>\nstream\n`))
      write(object.stream)
      write(strToU8('\nendstream'))
    }
    write(strToU8('\nendobj\n'))
  })
  const start = length
  const table = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')
  write(strToU8(`xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}`))
  write(strToU8(`trailer << /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF`))
  return new Uint8Array(Buffer.concat(parts))
}

const FONT = '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>'
const page = (contents: number, more = '') =>
  `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 5 0 R >> ${more} >> /Contents ${contents} 0 R >>`

/** One page whose content stream unpacks to `megabytes` MB of drawing operators. */
export function flateBomb(megabytes: number): Uint8Array {
  const operators = Buffer.alloc(megabytes * 1024 * 1024, 'q Q ')
  return makePdf([
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    page(4),
    { dictionary: '/Filter /FlateDecode', stream: deflateSync(operators, { level: 9 }) },
    FONT,
  ])
}

/** A page tree that claims `count` pages. */
export const manyPages = (count: number): Uint8Array =>
  makePdf([
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Kids [3 0 R] /Count ${count} >>`,
    page(4),
    { dictionary: '', stream: strToU8('BT /F1 12 Tf 50 700 Td (Hello) Tj ET') },
    FONT,
  ])

/** Forms that draw each other: `width` to the power of `depth` paintings of one word. */
export function endlessForms(width: number, depth: number): Uint8Array {
  const first = 6
  const forms = Array.from({ length: depth }, (_, level) => ({
    dictionary: `/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources << /Font << /F1 5 0 R >> /XObject << /X ${first + level + 1} 0 R >> >>`,
    stream: strToU8('/X Do '.repeat(width)),
  }))
  return makePdf([
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [3 0 R] /Count 1 >>',
    page(4, `/XObject << /X ${first} 0 R >>`),
    { dictionary: '', stream: strToU8('/X Do') },
    FONT,
    ...forms,
    {
      dictionary: '/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources << /Font << /F1 5 0 R >> >>',
      stream: strToU8('BT /F1 12 Tf 50 700 Td (word) Tj ET'),
    },
  ])
}

/** A PDF with `count` pages of a few words each. */
export function plainPdf(count: number): Uint8Array {
  const kids = Array.from({ length: count }, (_, index) => index * 2 + 4)
  return makePdf([
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Kids [${kids.map((kid) => `${kid} 0 R`).join(' ')}] /Count ${count} >>`,
    FONT,
    ...kids.flatMap((kid, index) => [
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> /Contents ${kid + 1} 0 R >>`,
      {
        dictionary: '',
        stream: strToU8(`BT /F1 12 Tf 50 700 Td (This is page number ${index + 1} of a long document.) Tj ET`),
      },
    ]),
  ])
}

const CONTENT_TYPES = strToU8('<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>')

/** A ZIP archive of these files. Packed by zlib: `zipSync` takes ten seconds for a bomb, zlib one. */
export function zip(files: Record<string, Uint8Array>): Uint8Array {
  const pieces: Uint8Array[] = []
  const archive = new Zip((error, piece) => {
    if (error) throw error
    pieces.push(piece)
  })
  for (const [filename, content] of Object.entries(files)) {
    const file: ZipInputFile = { filename, size: content.length, crc: crc32(content), compression: 8 }
    archive.add(file)
    file.ondata?.(null, deflateRawSync(content, { level: 9 }), true)
  }
  archive.end()
  return new Uint8Array(Buffer.concat(pieces))
}

/** A DOCX whose main part is `xml`. */
export const makeDocx = (xml: string | Uint8Array): Uint8Array =>
  zip({ '[Content_Types].xml': CONTENT_TYPES, 'word/document.xml': typeof xml === 'string' ? strToU8(xml) : xml })

/** A DOCX that unpacks to `megabytes` MB. */
export const zipBomb = (megabytes: number): Uint8Array => makeDocx(new Uint8Array(megabytes * 1024 * 1024).fill(0x20))

/** The same archive with a lie about the unpacked size, in the local header and in the directory. */
export function withStatedSize(archive: Uint8Array, name: string, size: number): Uint8Array {
  const bytes = archive.slice()
  const view = new DataView(bytes.buffer)
  for (let index = 0; index + 46 < bytes.length; index++) {
    const signature = view.getUint32(index, true)
    if (signature !== 0x04034b50 && signature !== 0x02014b50) continue
    const [sizeAt, nameAt] = signature === 0x04034b50 ? [22, 30] : [24, 46]
    const found = new TextDecoder().decode(bytes.subarray(index + nameAt, index + nameAt + name.length))
    if (found === name) view.setUint32(index + sizeAt, size, true)
  }
  return bytes
}
