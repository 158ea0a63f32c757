/** What a site says about who may fetch what (RFC 9309). */
export type Robots = {
  /** Whether a path with its query, as a URL has them, may be fetched. */
  allows: (path: string) => boolean
  /** Addresses of sitemaps, as they stand there. */
  sitemaps: string[]
  /** Milliseconds between two requests that it asks for (`Crawl-delay`, which is no part of the standard); 0: none. */
  delayMs: number
}

/** The name rules may be addressed to; it is the User-Agent of every request. */
const AGENT = 'bulkhead'
const MAX_LINES = 10_000
const MAX_RULES = 1000
const MAX_SITEMAPS = 50
const MAX_PATTERN_CHARS = 500

export const ALLOWS_ALL: Robots = { allows: () => true, sitemaps: [], delayMs: 0 }
export const ALLOWS_NOTHING: Robots = { allows: () => false, sitemaps: [], delayMs: 0 }

type Rule = { allow: boolean; pattern: string }
type Group = { agents: string[]; rules: Rule[] }
/** A pause, in seconds, and the names it is for. */
type Delay = { agents: string[]; seconds: number }

/** Escapes of characters that need none, which are the same characters without. */
const withoutNeedlessEscapes = (text: string): string =>
  text.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const char = String.fromCharCode(parseInt(escape.slice(1), 16))
    return /[\w.~-]/.test(char) ? char : escape.toUpperCase()
  })

/** A path in one way of writing: what is escaped without need, or not escaped, is the same path. */
function canonical(path: string): string {
  try {
    const { pathname, search } = new URL(path.startsWith('/') ? path : `/${path}`, 'https://robots.invalid')
    // A rule may end where a query begins, which URLs leave out.
    return withoutNeedlessEscapes(pathname + (search === '' && path.includes('?') ? '?' : search))
  } catch {
    return path
  }
}

/** Whether a pattern with `*` and `$` fits the beginning of a path. Time grows with the product of the lengths at most. */
function fits(pattern: string, path: string): boolean {
  const isWhole = pattern.endsWith('$')
  const [head = '', ...parts] = (isWhole ? pattern.slice(0, -1) : pattern).split('*')
  if (!path.startsWith(head)) return false
  let at = head.length
  const last = isWhole ? parts.pop() : undefined
  for (const part of parts) {
    const found = path.indexOf(part, at)
    if (found === -1) return false
    at = found + part.length
  }
  if (!isWhole) return true
  return last === undefined ? at === path.length : path.length - last.length >= at && path.endsWith(last)
}

/** The groups of a file: each set of rules with the names it is for. */
function groupsOf(lines: readonly string[]): { groups: Group[]; delays: Delay[]; sitemaps: string[] } {
  const groups: Group[] = []
  const delays: Delay[] = []
  const sitemaps: string[] = []
  let current: Group | undefined
  for (const line of lines) {
    const text = line.replace(/#.*$/, '')
    const colon = text.indexOf(':')
    if (colon === -1) continue
    const key = text.slice(0, colon).trim().toLowerCase()
    const value = text.slice(colon + 1).trim()
    if (key === 'sitemap') {
      if (sitemaps.length < MAX_SITEMAPS) sitemaps.push(value)
    } else if (key === 'user-agent') {
      // Names that follow each other share the rules that come then.
      if (current === undefined || current.rules.length > 0) groups.push((current = { agents: [], rules: [] }))
      current.agents.push(value.toLowerCase())
    } else if ((key === 'allow' || key === 'disallow') && current !== undefined && current.rules.length < MAX_RULES) {
      // An empty rule says nothing, but it ends the list of names.
      current.rules.push({ allow: key === 'allow', pattern: value.slice(0, MAX_PATTERN_CHARS) })
    } else if (key === 'crawl-delay' && current !== undefined && /^\d{1,20}(\.\d{1,20})?$/.test(value)) {
      // It ends no list of names: what the standard does not know must not change what its own lines mean.
      delays.push({ agents: [...current.agents], seconds: Number(value) })
    }
  }
  return { groups, delays, sitemaps }
}

/** Reads a robots.txt. Rules for our name count if there are any, else those for `*`; the longest that fits decides. */
export function parseRobots(text: string): Robots {
  const { groups, delays, sitemaps } = groupsOf(text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/, MAX_LINES))
  // A name may come with a version, which is no part of it.
  const isOurs = (agent: string) => /^[a-z_-]*/.exec(agent)?.[0] === AGENT
  const hasOurs = groups.some(({ agents }) => agents.some(isOurs))
  const isForUs = ({ agents }: { agents: string[] }) => (hasOurs ? agents.some(isOurs) : agents.includes('*'))
  const chosen = groups.filter(isForUs)
  const rules = chosen
    .flatMap((group) => group.rules)
    .filter(({ pattern }) => pattern !== '')
    .map((rule) => ({ ...rule, pattern: canonical(rule.pattern) }))
    // Where two of the same length fit, the one that allows counts.
    .sort((a, b) => b.pattern.length - a.pattern.length || Number(b.allow) - Number(a.allow))
  return {
    allows: (path) => {
      const asked = withoutNeedlessEscapes(path)
      return asked === '/robots.txt' || (rules.find(({ pattern }) => fits(pattern, asked))?.allow ?? true)
    },
    sitemaps,
    delayMs: 1000 * Math.max(0, ...delays.filter(isForUs).map(({ seconds }) => seconds)),
  }
}
