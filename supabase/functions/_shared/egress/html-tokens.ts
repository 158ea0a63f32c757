/** A piece of a page. Names are in lower case; entities in texts and attributes are decoded. */
export type HtmlToken =
  | { kind: 'text'; text: string }
  | { kind: 'open'; name: string; attributes: Map<string, string> }
  | { kind: 'close'; name: string }

/** Elements whose content is no markup. */
const RAW = new Set(['script', 'style', 'textarea', 'title', 'iframe', 'xmp', 'noembed', 'noframes'])
const MAX_ATTRIBUTES = 50
const MAX_VALUE_CHARS = 4000

// HTML's names for U+00A0 to U+00FF, in order.
const LATIN_1 =
  'nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml'
const ENTITIES = new Map<string, string>([
  ...LATIN_1.split(' ').map((name, i): [string, string] => [name, String.fromCharCode(0xa0 + i)]),
  ...Object.entries({
    amp: '&',
    lt: '<',
    gt: '>',
    quot: '"',
    apos: "'",
    hellip: '…',
    mdash: '—',
    ndash: '–',
    bull: '•',
  }),
  ...Object.entries({ lsquo: '‘', rsquo: '’', ldquo: '“', rdquo: '”', bdquo: '„', sbquo: '‚', euro: '€', trade: '™' }),
  ...Object.entries({
    larr: '←',
    rarr: '→',
    uarr: '↑',
    darr: '↓',
    minus: '−',
    le: '≤',
    ge: '≥',
    ne: '≠',
    ensp: ' ',
    emsp: ' ',
    thinsp: ' ',
  }),
])

/** Text with its character references decoded; those that are not known stay as they are. */
export function decodeEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z][a-z0-9]{1,9}));?/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES.get(name as string) ?? whole
    const code = decimal === undefined ? parseInt(hex as string, 16) : Number(decimal)
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd'
  })
}

const NAME = /[a-z][^\s/>]*/iy
const SPACE = /[\s/]*/y
const ATTRIBUTE = /([^\s/>=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]*)))?/y

/** Runs a sticky expression at a position. */
function matchAt(expression: RegExp, text: string, at: number): RegExpExecArray | null {
  expression.lastIndex = at
  return expression.exec(text)
}

/** The attributes from here on, and where the tag ends; -1 when it does not. */
function readAttributes(html: string, start: number): { attributes: Map<string, string>; end: number } {
  const attributes = new Map<string, string>()
  for (let at = start; at < html.length; ) {
    at += matchAt(SPACE, html, at)?.[0].length ?? 0
    if (html[at] === '>') return { attributes, end: at + 1 }
    const found = matchAt(ATTRIBUTE, html, at)
    // The end of the page, or a stray "=".
    if (!found) {
      at++
      continue
    }
    const name = (found[1] as string).toLowerCase()
    const value = found[2] ?? found[3] ?? found[4] ?? ''
    if (attributes.size < MAX_ATTRIBUTES && !attributes.has(name)) {
      attributes.set(name, decodeEntities(value.slice(0, MAX_VALUE_CHARS)))
    }
    at += found[0].length
  }
  return { attributes, end: -1 }
}

/**
 * Cuts a page into tags and texts, much as browsers do. There is no tree, so time grows with length alone, whatever is
 * nested in what; a tree of a hostile page of one megabyte takes minutes.
 */
export function* htmlTokens(html: string): Generator<HtmlToken> {
  let at = 0
  while (at < html.length) {
    const tag = html.indexOf('<', at)
    if (tag !== at) yield { kind: 'text', text: decodeEntities(html.slice(at, tag === -1 ? html.length : tag)) }
    if (tag === -1) return
    const isClose = html[tag + 1] === '/'
    const name = matchAt(NAME, html, tag + (isClose ? 2 : 1))?.[0]
    if (name === undefined) {
      const mark = html[tag + 1]
      if (mark !== '!' && mark !== '?' && mark !== '/') {
        yield { kind: 'text', text: '<' }
        at = tag + 1
        continue
      }
      const isComment = html.startsWith('<!--', tag)
      const end = html.indexOf(isComment ? '-->' : '>', tag + (isComment ? 4 : 2))
      if (end === -1) return
      at = end + (isComment ? 3 : 1)
      continue
    }
    const lower = name.toLowerCase()
    const { attributes, end } = readAttributes(html, tag + (isClose ? 2 : 1) + name.length)
    if (end === -1) return
    at = end
    if (isClose) {
      yield { kind: 'close', name: lower }
      continue
    }
    yield { kind: 'open', name: lower, attributes }
    if (RAW.has(lower)) {
      const closing = new RegExp(`</${lower}(?=[\\s/>])`, 'gi')
      closing.lastIndex = at
      const close = closing.exec(html)?.index ?? html.length
      if (close > at)
        yield { kind: 'text', text: lower === 'title' ? decodeEntities(html.slice(at, close)) : html.slice(at, close) }
      at = close
    }
  }
}
