import { S3_ERRORS, S3Error } from './errors.ts'

/** Text, several elements of one name, or nested elements. Undefined is left out. */
export type XmlValue = string | number | boolean | undefined | XmlValue[] | { [name: string]: XmlValue }

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', '\r': '&#13;' }

/** One element with its content, escaped. A list repeats the element. */
export function element(name: string, value: XmlValue, attributes = ''): string {
  if (value === undefined) return ''
  if (Array.isArray(value)) return value.map((item) => element(name, item)).join('')
  const content =
    typeof value === 'object'
      ? Object.entries(value)
          .map(([child, childValue]) => element(child, childValue))
          .join('')
      : String(value).replace(/[&<>"\r]/g, (c) => ESCAPES[c] ?? c)
  return `<${name}${attributes}>${content}</${name}>`
}

/** A complete S3 answer document. */
export function xmlResponse(root: string, content: XmlValue): Response {
  const document = `${DECLARATION}${element(root, content, ` xmlns="${NAMESPACE}"`)}`
  return new Response(document, { headers: { 'content-type': 'application/xml' } })
}

/** The error document; HEAD gets the status alone. */
export function errorResponse(error: S3Error, request: Request, requestId: string): Response {
  const [status] = S3_ERRORS[error.code]
  const { pathname } = new URL(request.url)
  const content = { Code: error.code, Message: error.message, Resource: pathname, RequestId: requestId }
  const document = request.method === 'HEAD' ? null : `${DECLARATION}${element('Error', content)}`
  return new Response(document, { status, headers: { 'content-type': 'application/xml' } })
}

/**
 * The contents of every element of one name in a document from a client. Only what S3 requests need: no attributes are
 * read, document types and processing beyond the five entities are refused.
 * @throws S3Error `MalformedXML`
 */
export function readElements(xml: string, name: string): string[] {
  if (/<!/.test(xml)) throw new S3Error('MalformedXML')
  const opened = xml.match(new RegExp(`<${name}(?:\\s[^>]*)?>`, 'g'))?.length ?? 0
  const elements = [...xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, 'g'))]
  if (elements.length !== opened) throw new S3Error('MalformedXML')
  return elements.map((match) => match[1] ?? '')
}

/** The text of the one element of that name; undefined without it. */
export function readText(xml: string, name: string): string | undefined {
  const [text] = readElements(xml, name)
  return text?.replace(/&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([\da-f]{1,6}));/gi, (_, entity, decimal, hex) => {
    if (entity) return { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }[String(entity).toLowerCase()] ?? ''
    const code = decimal ? Number(decimal) : parseInt(hex, 16)
    if (code > 0x10ffff) throw new S3Error('MalformedXML')
    return String.fromCodePoint(code)
  })
}
