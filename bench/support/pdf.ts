/** A page as its lines, top to bottom. Only ASCII can be shown: the built-in font knows no more without an encoding. */
export type PdfPage = string[]

const PAGE = { width: 595, height: 842, left: 56, top: 780, leading: 15, size: 11 } // A4, in points

/**
 * Writes a PDF 1.4 with one text page per entry, in Helvetica. The same pages give the same bytes, so that two runs of a
 * measurement extract the same document.
 */
export function writePdf(pages: PdfPage[]): Uint8Array {
  // Objects 1 to 3 are the catalog, the page tree and the font; then two for each page, itself and its content.
  const pageId = (index: number) => 4 + 2 * index
  const kids = pages.map((_, index) => `${pageId(index)} 0 R`).join(' ')
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} /MediaBox [0 0 ${PAGE.width} ${PAGE.height}] >>`,
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>',
    ...pages.flatMap((lines, index) => {
      const content = pageContent(lines)
      return [
        `<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 3 0 R >> >> /Contents ${pageId(index) + 1} 0 R >>`,
        `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
      ]
    }),
  ]

  let file = '%PDF-1.4\n'
  const offsets = objects.map((object, index) => {
    const offset = file.length
    file += `${index + 1} 0 obj\n${object}\nendobj\n`
    return offset
  })
  const start = file.length
  file += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n`
  for (const offset of offsets) file += `${String(offset).padStart(10, '0')} 00000 n \n`
  file += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`
  return new TextEncoder().encode(file)
}

function pageContent(lines: PdfPage): string {
  const shown = lines.map((line) => `(${line.replace(/[^\x20-\x7e]/g, '?').replace(/[\\()]/g, '\\$&')}) Tj T*`)
  return `BT /F1 ${PAGE.size} Tf ${PAGE.leading} TL ${PAGE.left} ${PAGE.top} Td\n${shown.join('\n')}\nET`
}
