import { Buffer } from 'node:buffer'

/** Parts of a form: many more than any route here knows fields. Each costs time, whatever is in it. */
export const MAX_PARTS = 200
/** Bytes of the headers of one part. */
const MAX_HEAD_BYTES = 8 * 1024
/** Characters of a boundary; RFC 2046 allows 70. */
const MAX_BOUNDARY_CHARS = 200

/** Lines of one part that only begin like a delimiter. Senders choose boundaries of which there is none. */
const MAX_LOOKALIKES = 1000

/** Why a body is no form. */
export class MultipartError extends Error {
  override name = 'MultipartError'
}

const PARAMETER = /\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))/gsy

/** What senders write for the characters that would end a quoted name: curl puts backslashes, browsers percent signs. */
const unquoted = (text: string): string =>
  // A backslash of a file name is written as it is.
  text.replace(/\\(["\\])|%(22|0D|0A)/gi, (_, plain: string | undefined, code: string) =>
    plain === undefined ? String.fromCharCode(parseInt(code, 16)) : plain,
  )

/** Parameters of a header's value, after its first word. A semicolon within quotes is part of a value: file names may have some. */
function parametersOf(value: string): Map<string, string> {
  const found = new Map<string, string>()
  PARAMETER.lastIndex = /^[^;]*/.exec(value)?.[0].trimEnd().length ?? 0
  for (let match = PARAMETER.exec(value); match !== null; match = PARAMETER.exec(value)) {
    const [, name = '', quoted, plain = ''] = match
    found.set(name.toLowerCase(), quoted === undefined ? plain : unquoted(quoted))
  }
  return found
}

/** The name of a part's file, undefined for a part that is no file. One in the encoding of RFC 8187 comes first. */
function fileNameOf(parameters: Map<string, string>): string | undefined {
  const plain = parameters.get('filename')
  const encoded = /^utf-8'[^']*'(.*)$/is.exec(parameters.get('filename*') ?? '')?.[1]
  try {
    return encoded === undefined ? plain : decodeURIComponent(encoded)
  } catch {
    return plain
  }
}

function headersOf(head: string): Map<string, string> {
  return new Map(
    head.split('\r\n').flatMap((line): [string, string][] => {
      const colon = line.indexOf(':')
      return colon > 0 ? [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]] : []
    }),
  )
}

const encode = (text: string) => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
const LINE_BREAK = encode('\r\n')
const HEAD_END = encode('\r\n\r\n')

/** Where bytes hold these others, from a place on; -1: nowhere. */
const find = (bytes: Uint8Array, wanted: Uint8Array, from = 0): number =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(wanted, from)

/** Where a part ends, and where the next one begins: null after the last. */
type Delimiter = { begin: number; next: number | null }

/** The delimiter whose boundary ends at a place; undefined for a line that only begins like one, which is content. */
function delimiterAt(body: Uint8Array, begin: number, end: number): Delimiter | undefined {
  if (body[end] === 0x2d && body[end + 1] === 0x2d) return { begin, next: null }
  let at = end
  while (body[at] === 0x20 || body[at] === 0x09) at++
  return body[at] === 0x0d && body[at + 1] === 0x0a ? { begin, next: at + 2 } : undefined
}

function findDelimiter(body: Uint8Array, mark: Uint8Array, from: number): Delimiter {
  let begin = find(body, mark, from)
  for (let count = 0; begin >= 0 && count <= MAX_LOOKALIKES; count++, begin = find(body, mark, begin + 1)) {
    const found = delimiterAt(body, begin, begin + mark.length)
    if (found) return found
  }
  throw new MultipartError('A part has no end.')
}

/** The first delimiter: what stands before it is skipped, and nothing need to. */
function firstDelimiter(body: Uint8Array, mark: Uint8Array): Delimiter {
  const line = mark.subarray(LINE_BREAK.length)
  const found = find(body.subarray(0, line.length), line) === 0 ? delimiterAt(body, 0, line.length) : undefined
  return found ?? findDelimiter(body, mark, 0)
}

function addPart(form: FormData, head: string, content: Uint8Array): void {
  const headers = headersOf(head)
  const parameters = parametersOf(headers.get('content-disposition') ?? '')
  const name = parameters.get('name')
  if (name === undefined) throw new MultipartError('A part has no name.')
  const fileName = fileNameOf(parameters)
  if (fileName === undefined) return form.append(name, decode(content))
  const type = headers.get('content-type') ?? 'application/octet-stream'
  form.append(name, new File([content.slice()], fileName, { type }))
}

/**
 * The fields of a form (RFC 7578), in one pass over its bytes. Not `Response.formData()`: that of Deno ends a file's name at the
 * first semicolon or equals sign in it, and takes its time for each part, of which 20 MB may hold half a million.
 * @throws MultipartError when it is none, or has more than `MAX_PARTS` parts.
 */
export function parseMultipart(body: Uint8Array, contentType: string): FormData {
  const boundary = parametersOf(contentType).get('boundary') ?? ''
  if (boundary === '' || boundary.length > MAX_BOUNDARY_CHARS) {
    throw new MultipartError('Its Content-Type names no boundary.')
  }
  const mark = encode(`\r\n--${boundary}`)
  const form = new FormData()
  let { next } = firstDelimiter(body, mark)
  for (let count = 0; next !== null; count++) {
    if (count === MAX_PARTS) throw new MultipartError(`It has more than ${MAX_PARTS} parts.`)
    const headEnd = find(body.subarray(next, next + MAX_HEAD_BYTES), HEAD_END)
    const end = findDelimiter(body, mark, next)
    // A part without content ends with the line break of its headers.
    if (headEnd < 0 || end.begin < next + headEnd + LINE_BREAK.length) {
      throw new MultipartError('The headers of a part have no end.')
    }
    const head = decode(body.subarray(next, next + headEnd))
    addPart(form, head, body.subarray(next + headEnd + HEAD_END.length, end.begin))
    next = end.next
  }
  return form
}
