/** One step through an XML document. Names keep their prefix. */
export type XmlEvent =
  | { type: 'open'; name: string; attributes: Record<string, string> }
  | { type: 'close'; name: string }
  | { type: 'text'; text: string }

/** The document breaks off or its tags do not match. */
export class XmlError extends Error {
  override name = 'XmlError'
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

/** Predefined and numeric entities only: document type definitions, and with them entity bombs, are not read. */
export function decodeEntities(text: string): string {
  // Most texts have none, and a spreadsheet has millions of texts.
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w{2,8}));/g,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (name) return Object.hasOwn(ENTITIES, name) ? (ENTITIES[name] as string) : whole
      const code = hex ? parseInt(hex, 16) : Number(decimal)
      return code <= 0x10ffff ? String.fromCodePoint(code) : ''
    },
  )
}

function readAttributes(source: string): Record<string, string> {
  const attributes: Record<string, string> = {}
  if (source === '') return attributes
  // Tried at the begin of each word only: tried at every letter, it takes quadratic time on a long word.
  for (const match of source.matchAll(/(?<![\w:.-])([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    attributes[match[1] as string] = decodeEntities(match[2] ?? match[3] ?? '')
  }
  return attributes
}

/**
 * Reads XML from start to end without building a tree, so that neither depth nor size can exhaust the stack.
 * @throws XmlError when elements are not closed in order, which is also how a truncated part shows.
 */
export function* readXml(xml: string): Generator<XmlEvent> {
  const open: string[] = []
  let position = 0
  while (position < xml.length) {
    const tag = xml.indexOf('<', position)
    if (tag < 0) break
    if (tag > position) yield { type: 'text', text: decodeEntities(xml.slice(position, tag)) }
    if (xml.startsWith('<!--', tag)) {
      position = endOf(xml, '-->', tag + 4)
    } else if (xml.startsWith('<![CDATA[', tag)) {
      const end = endOf(xml, ']]>', tag + 9)
      yield { type: 'text', text: xml.slice(tag + 9, end - 3) }
      position = end
    } else if (xml[tag + 1] === '?') {
      position = endOf(xml, '?>', tag + 2)
    } else if (xml[tag + 1] === '!') {
      position = endOf(xml, '>', tag + 2)
    } else {
      const end = endOfTag(xml, tag + 1)
      const content = xml.slice(tag + 1, end - 1)
      position = end
      if (content.startsWith('/')) {
        const name = content.slice(1).trim()
        if (open.pop() !== name) throw new XmlError(`unexpected end of ${name}`)
        yield { type: 'close', name }
        continue
      }
      const selfClosing = content.endsWith('/')
      const name = /^[\w:.-]+/.exec(content)?.[0]
      if (!name) throw new XmlError('malformed tag')
      yield { type: 'open', name, attributes: readAttributes(content.slice(name.length)) }
      if (selfClosing) yield { type: 'close', name }
      else open.push(name)
    }
  }
  if (open.length > 0) throw new XmlError(`${open.at(-1)} is not closed`)
}

/** Behind the tag that `from` is in. Values of attributes may hold the character that ends it. */
function endOfTag(xml: string, from: number): number {
  let end = endOf(xml, '>', from)
  for (let at = from; at < end; at++) {
    const unit = xml.charCodeAt(at)
    if (unit !== 0x22 && unit !== 0x27) continue
    at = endOf(xml, unit === 0x22 ? '"' : "'", at + 1) - 1
    if (at >= end) end = endOf(xml, '>', at + 1)
  }
  return end
}

function endOf(xml: string, mark: string, from: number): number {
  const found = xml.indexOf(mark, from)
  if (found < 0) throw new XmlError(`missing ${mark}`)
  return found + mark.length
}
