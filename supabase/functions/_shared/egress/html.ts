import { htmlTokens } from './html-tokens.ts'
import { cleanText } from './text.ts'
import { TextBuilder } from './text-builder.ts'

/** What is taken from a page. */
export type HtmlOptions = {
  /** Address of the page, against which its links are read. */
  url: string
  /** Leave out navigation and footers, and what is beside the main part where the page marks one. */
  onlyMainContent: boolean
  includeImages: boolean
  /** Elements to leave out: tag names, `.class` and `#id`. */
  excludeTags: readonly string[]
  /** Headings, links and images as Markdown; else plain text. */
  markdown: boolean
}

/** A page as text; `links` are complete web addresses, each once. */
export type HtmlText = { title: string; text: string; links: string[] }

const MAX_LINKS = 500
const MAX_URL_CHARS = 2000
const MAX_TITLE_CHARS = 300
const MAX_STYLE_CHARS = 500

const words = (text: string) => new Set(text.split(' '))
const VOID = words('area base br col embed hr img input link meta param source track wbr')
const NEVER_SHOWN = words(
  'script style noscript template svg math iframe object canvas audio video textarea select dialog title xmp noembed noframes',
)
const NOT_MAIN = words('nav footer aside button')
const NOT_MAIN_ROLES = words('navigation search banner contentinfo menu dialog complementary')
/** Elements that end where their like begins, so that one that is hidden and not closed does not hide the rest. */
const SELF_CLOSING = words('p li dt dd tr td th option')
const PARAGRAPHS = words('p h1 h2 h3 h4 h5 h6 table blockquote pre ul ol dl figure hr')
const LINES = words(
  'div section article main header footer aside nav tr li dt dd address form fieldset details summary figcaption caption body',
)
// Text that nobody sees on the page is the place to hide instructions in.
const HIDING = /display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0(?![.\d])/i

type Attributes = Map<string, string>

/** An address of the web in full, or null for anything else (`data:`, `javascript:`, ...). */
function webAddress(href: string | undefined, base: string): string | null {
  if (!href || href.startsWith('#') || !URL.canParse(href, base)) return null
  const url = new URL(href, base)
  const isWeb = url.protocol === 'https:' || url.protocol === 'http:'
  return isWeb && url.username === '' && url.password === '' && url.href.length <= MAX_URL_CHARS ? url.href : null
}

/** An address that may stand within the round brackets of Markdown. */
const bracketed = (url: string) => url.replaceAll('(', '%28').replaceAll(')', '%29')

function isHidden(name: string, attributes: Attributes): boolean {
  // Some pages hide everything until their scripts have run.
  if (name === 'body' || name === 'html') return false
  const style = attributes.get('style')?.slice(0, MAX_STYLE_CHARS) ?? ''
  return attributes.has('hidden') || attributes.get('aria-hidden') === 'true' || HIDING.test(style)
}

function isExcluded(name: string, attributes: Attributes, excluded: ReadonlySet<string>): boolean {
  if (excluded.size === 0) return false
  if (excluded.has(name) || excluded.has(`#${attributes.get('id')}`)) return true
  return (attributes.get('class') ?? '').split(/\s+/).some((name) => excluded.has(`.${name}`))
}

/** The element we are in of those that matter, by counting its like: closing tags that fit nothing change nothing. */
type Region = { name: string; depth: number }

/** What a reader of the page sees, as text. @param html decoded. Takes about 100 ms per megabyte, whatever is in it. */
export function htmlToText(html: string, options: HtmlOptions): HtmlText {
  const { markdown, url } = options
  const builder = new TextBuilder()
  const links = new Set<string>()
  const excluded = new Set(options.excludeTags.map((tag) => (/^[.#]/.test(tag) ? tag : tag.toLowerCase())))
  let title: string | null = null
  let skipped: Region | null = null
  let main: Region | null = null
  let link: string | null = null
  let lists = 0

  const isSkipped = (name: string, attributes: Attributes): boolean => {
    if (NEVER_SHOWN.has(name) || isHidden(name, attributes) || isExcluded(name, attributes, excluded)) return true
    if (!options.onlyMainContent) return false
    return (
      NOT_MAIN.has(name) || NOT_MAIN_ROLES.has(attributes.get('role') ?? '') || (name === 'header' && main === null)
    )
  }
  const endLink = () => {
    if (link !== null) builder.closeBracket(`](${bracketed(link)})`)
    link = null
  }
  const separate = (name: string) => {
    if (PARAGRAPHS.has(name)) builder.separate((name === 'ul' || name === 'ol') && lists > 0 ? 1 : 2)
    else if (LINES.has(name)) builder.separate(1)
  }

  const open = (name: string, attributes: Attributes) => {
    separate(name)
    if (main?.name === name) main.depth++
    else if (main === null && (name === 'main' || name === 'article' || attributes.get('role') === 'main')) {
      main = { name, depth: 1 }
      builder.mark()
    }
    switch (name) {
      case 'a': {
        endLink()
        const href = webAddress(attributes.get('href'), url)
        if (href === null) break
        if (links.size < MAX_LINKS) links.add(href)
        if (!markdown) break
        link = href
        builder.openBracket('[')
        break
      }
      case 'img': {
        const src = options.includeImages ? webAddress(attributes.get('src'), url) : null
        if (src === null) break
        const alt = (attributes.get('alt') ?? '').replace(/[[\]\s]+/g, ' ').slice(0, 200)
        builder.literal(markdown ? `![${alt}](${bracketed(src)})` : `${alt} (${src})`)
        break
      }
      case 'br':
        builder.lineBreak()
        break
      case 'li':
        builder.prefix(`${'  '.repeat(Math.min(Math.max(lists - 1, 0), 5))}- `)
        break
      case 'ul':
      case 'ol':
        lists++
        break
      case 'pre':
        builder.preformatted++
        break
      case 'td':
      case 'th':
        builder.cell()
        break
      default:
        if (markdown && /^h[1-6]$/.test(name)) builder.prefix(`${'#'.repeat(Number(name[1]))} `)
    }
  }

  const close = (name: string) => {
    if (name === 'a') endLink()
    if (name === 'ul' || name === 'ol') lists = Math.max(lists - 1, 0)
    if (name === 'pre') builder.preformatted = Math.max(builder.preformatted - 1, 0)
    separate(name)
    if (main?.name === name && --main.depth === 0) {
      builder.mark()
      main = null
    }
  }

  for (const token of htmlTokens(html)) {
    if (skipped !== null) {
      if (token.kind === 'text') {
        if (skipped.name === 'title') title ??= token.text
        continue
      }
      if (token.name !== skipped.name || VOID.has(token.name)) continue
      if (token.kind === 'close' || (skipped.depth === 1 && SELF_CLOSING.has(token.name))) skipped.depth--
      else skipped.depth++
      if (skipped.depth > 0) continue
      skipped = null
      if (token.kind === 'close') continue
    }
    if (token.kind === 'text') builder.text(token.text)
    else if (token.kind === 'close') close(token.name)
    else if (!isSkipped(token.name, token.attributes)) open(token.name, token.attributes)
    else if (!VOID.has(token.name)) skipped = { name: token.name, depth: 1 }
  }
  endLink()
  const { all, marked } = builder.finish()
  // A page may mark as its main part what is a heading only.
  const text = options.onlyMainContent && marked.length * 3 > all.length ? marked : all
  return {
    title: cleanText(title ?? '')
      .replace(/\s+/g, ' ')
      .trim()
      .slice(0, MAX_TITLE_CHARS),
    text: cleanText(text),
    links: [...links],
  }
}
