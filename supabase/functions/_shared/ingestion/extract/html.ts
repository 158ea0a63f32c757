// The package has no types of its own, and Deno does not look for them elsewhere.
// @deno-types="npm:@types/html-to-text@9.0.4"
import { compile, type DomNode, type FormatCallback, type HtmlToTextOptions } from 'html-to-text'
import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { corrupt, limitExceeded } from './failure.ts'
import { markdownTable } from './markdown-table.ts'
import { paginate } from './paginate.ts'
import { sanitizeText, sanitizeTitle } from './sanitize.ts'

/** Deeper nesting than any hand-made page has, and less than exhausts the stack. */
const MAX_DEPTH = 500
/** Stands where text is nested deeper. No character of any text: a page that has it is read without it. */
const DEEPER = '\uFDD0'

// What a reader of the page does not read: code, navigation, controls, and what is hidden.
const SKIPPED = [
  'script',
  'style',
  'noscript',
  'template',
  'svg',
  'annotation',
  'iframe',
  'object',
  'canvas',
  'audio',
  'video',
  'img',
  'nav',
  'button',
  'input',
  'select',
  'textarea',
  'label',
  'dialog',
  'head',
  'title',
  '[hidden]',
  '[style*="display:none"]',
  '[style*="display: none"]',
  '[aria-hidden="true"]',
  '[role="navigation"]',
  '[role="search"]',
  '[role="menu"]',
  '[role="dialog"]',
]

// Blocks that the library takes for words of the line they stand in. Of lists and tables: those outside of any.
const BLOCKS = [
  'address',
  'caption',
  'center',
  'dd',
  'details',
  'dl',
  'dt',
  'fieldset',
  'figcaption',
  'figure',
  'hgroup',
  'legend',
  'li',
  'menu',
  'summary',
  'td',
  'th',
  'tr',
]

/** Headings as Markdown, because that is where the chunker finds the structure. */
const formatHeading: FormatCallback = (elem, walk, builder) => {
  builder.openBlock({ leadingLineBreaks: 2 })
  builder.addLiteral(`${'#'.repeat(Number(elem.name?.[1]))} `)
  walk(elem.children ?? [], builder)
  builder.closeBlock({ trailingLineBreaks: 2 })
}

function* descendants(elem: DomNode): Generator<DomNode> {
  const open = [...(elem.children ?? [])]
  while (open.length > 0) {
    const node = open.pop() as DomNode
    yield node
    for (const child of node.children ?? []) open.push(child)
  }
}

/** Tables that arrange a page hold tables or headings; those that hold data do not. */
function isDataTable(elem: DomNode): boolean {
  for (const node of descendants(elem)) if (/^(table|h[1-6]|form)$/.test(node.name ?? '')) return false
  return true
}

/** Menus and lists of languages: many entries, each nothing but a short link. */
function isLinkList(elem: DomNode): boolean {
  const items = (elem.children ?? []).filter((child) => child.name === 'li')
  const isLink = (item: DomNode) => {
    let linked = 0
    let length = 0
    for (const node of descendants(item)) {
      if (node.name === 'a') linked++
      if (node.type === 'text') length += node.data?.trim().length ?? 0
    }
    return linked === 1 && length < 40
  }
  return items.length >= 15 && items.every(isLink)
}

const formatList: FormatCallback = (elem, walk, builder, options) => {
  if (!isLinkList(elem)) builder.options.formatters?.unorderedList?.(elem, walk, builder, options)
}

/** A table of data as a Markdown table; any other as the blocks it arranges. */
const formatTable: FormatCallback = (elem, walk, builder, options) => {
  if (!isDataTable(elem)) {
    builder.openBlock({ leadingLineBreaks: 2 })
    walk(elem.children ?? [], builder)
    builder.closeBlock({ trailingLineBreaks: 2 })
    return
  }
  const captions = (elem.children ?? []).filter((child) => child.name === 'caption')
  walk(captions, builder)
  builder.openTable()
  const visit = (node: DomNode): void => {
    for (const child of node.children ?? []) {
      if (child.name === 'tr') {
        builder.openTableRow()
        for (const cell of child.children ?? []) {
          if (cell.name !== 'td' && cell.name !== 'th') continue
          builder.openTableCell()
          walk(cell.children ?? [], builder)
          builder.closeTableCell()
        }
        builder.closeTableRow()
      } else if (/^(thead|tbody|tfoot)$/.test(child.name ?? '')) visit(child)
    }
  }
  visit(elem)
  builder.closeTable({
    tableToString: (rows) => markdownTable(rows.map((row) => row.map((cell) => cell.text))),
    leadingLineBreaks: options.leadingLineBreaks ?? 2,
    trailingLineBreaks: options.trailingLineBreaks ?? 2,
  })
}

const options: HtmlToTextOptions = {
  wordwrap: false,
  limits: { maxDepth: MAX_DEPTH, maxInputLength: Number.MAX_SAFE_INTEGER, ellipsis: DEEPER },
  formatters: { markdownHeading: formatHeading, markdownTable: formatTable, textList: formatList },
  selectors: [
    ...SKIPPED.map((selector) => ({ selector, format: 'skip' })),
    ...BLOCKS.map((selector) => ({
      selector,
      format: 'block',
      options: { leadingLineBreaks: 1, trailingLineBreaks: 1 },
    })),
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, format: 'markdownHeading' })),
    { selector: 'table', format: 'markdownTable' },
    { selector: 'a', options: { ignoreHref: true } },
    { selector: 'ul', format: 'textList', options: { itemPrefix: '- ' } },
    { selector: 'blockquote', options: { leadingLineBreaks: 2, trailingLineBreaks: 2 } },
  ],
}
const convertMain = compile({
  ...options,
  baseElements: { selectors: ['main', '[role="main"]'], returnDomByDefault: false },
})
const convertBody = compile({ ...options, baseElements: { selectors: ['body'], returnDomByDefault: true } })

// Elements that change nothing of the text. Old pages open them and never close them, each within the one before.
const PLAIN_TAG =
  /<(\/?)(a|b|i|u|em|tt|big|font|nobr|small|span|strong)(?=[\s/>])((?:[^<>"']+|"[^"<]*"|'[^'<]*')*)(>?)/gi
/** Attributes by which an element is left out or is the main content. */
const TELLING =
  /[\s"'/](?:aria-)?hidden(?=[\s"'/=]|$)|display: ?none|[\s"'/]role\s*=\s*["']?(?:navigation|search|menu|dialog|main)/i

/**
 * The page without elements that change nothing of its text. Those of a name go all or none, for what ends which of them is
 * for the parser to say: none where one has an attribute that tells something, or cannot be told from the text around it.
 */
function withoutPlainTags(html: string): string {
  const kept = new Set<string>()
  for (const [, , name = '', attributes = '', end] of html.matchAll(PLAIN_TAG))
    if (!end || TELLING.test(attributes)) kept.add(name.toLowerCase())
  // An empty declaration in its place: what is around a tag must not become one.
  return html.replace(PLAIN_TAG, (tag, _, name: string) => (kept.has(name.toLowerCase()) ? tag : '<!x>'))
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' }

/** The page's title, with the entities that titles use. */
function titleOf(html: string): string | undefined {
  const title = /<title[^>]{0,1000}>([^<]{1,1000})<\/title>/i
    .exec(html)?.[1]
    ?.replace(/&(amp|lt|gt|quot|apos|nbsp);/g, (_, name: string) => ENTITIES[name] as string)
    .replace(/&#(\d{1,6});/g, (_, code: string) => String.fromCodePoint(Number(code)))
  return title && sanitizeTitle(title)
}

/**
 * The readable text of a web page. If it marks its main content and that holds a fair part of the text, the rest
 * (sidebars, footers) is left out.
 * @throws ExtractionFailure `corrupt_document`, `limit_exceeded`.
 */
export function extractHtml(bytes: Uint8Array): Extraction {
  const head = new TextDecoder('latin1').decode(bytes.subarray(0, 4096))
  const charset = /<meta[^>]+charset=["']?([\w-]+)|<\?xml[^>]+encoding=["']([\w-]+)/i.exec(head)
  const decoded = decodeText(bytes, charset?.[1] ?? charset?.[2])
  if (!decoded) throw corrupt('HTML page')
  let html = decoded.text.replace(/\uFDD0|&#(?:x0*fdd0|0*64976)(?![\da-f]);?/gi, '')
  let body = sanitizeText(convertBody(html))
  if (body.includes(DEEPER)) {
    html = withoutPlainTags(html)
    body = sanitizeText(convertBody(html))
  }
  if (body.includes(DEEPER)) throw limitExceeded(`This page has more than ${MAX_DEPTH} elements within each other.`)
  const main = sanitizeText(convertMain(html))
  const title = titleOf(decoded.text)
  return {
    pages: paginate(main.length > body.length * 0.3 ? main : body),
    metadata: { encoding: decoded.encoding, ...(title ? { title } : {}) },
  }
}
