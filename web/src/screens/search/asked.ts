/** A search as the form has it and the address carries it. */
export type Asked = {
  query: string
  /** None: all that the person can see. */
  knowledgeBaseIds: string[]
  method: 'hybrid' | 'vector_search' | 'full_text'
  fusion: 'rrf' | 'weighted'
  /** Share of the vector leg, 0 to 1; null: what goes with the fusion. */
  vectorWeight: number | null
  topK: number
  /** null: as the knowledge base is set. */
  rerank: boolean | null
  /** Results of one source at most; null: no limit. */
  maxPerSource: number | null
  deduplicate: boolean
}

export const NOTHING_ASKED: Asked = {
  query: '',
  knowledgeBaseIds: [],
  method: 'hybrid',
  fusion: 'rrf',
  vectorWeight: null,
  topK: 10,
  rerank: null,
  maxPerSource: null,
  deduplicate: false,
}

/** A text as one part of a route. The router decodes percent signs by itself and takes ? for a query string, so neither is left. */
export const partOf = (text: string): string =>
  encodeURIComponent(text)
    .replace(/[~.!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%', '~')

/** The text of a part of a route; empty when it is none. */
export function textOfPart(part: string): string {
  try {
    return decodeURIComponent(part.replaceAll('~', '%'))
  } catch {
    return ''
  }
}

/** The route of a search, below that of the screen. */
export function routeOf(asked: Asked): string {
  if (asked.query.trim() === '') return '/'
  const options = new URLSearchParams()
  const set = (name: string, value: unknown, usual: unknown) => {
    if (value !== usual) options.set(name, String(value))
  }
  for (const id of asked.knowledgeBaseIds) options.append('kb', id)
  set('method', asked.method, NOTHING_ASKED.method)
  set('fusion', asked.fusion, NOTHING_ASKED.fusion)
  set('weight', asked.vectorWeight, null)
  set('top', asked.topK, NOTHING_ASKED.topK)
  set('rerank', asked.rerank, null)
  set('cap', asked.maxPerSource, null)
  set('once', asked.deduplicate, false)
  const query = `/q/${partOf(asked.query.trim())}`
  return options.size === 0 ? query : `${query}/${partOf(options.toString())}`
}

const numberIn = (text: string | null, least: number, most: number): number | null => {
  const value = text === null || text === '' ? Number.NaN : Number(text)
  return value >= least && value <= most ? value : null
}

/** The search of a route; what an address says wrongly is as if it did not say it. */
export function askedIn(queryPart: string | undefined, optionsPart: string | undefined): Asked {
  const options = new URLSearchParams(textOfPart(optionsPart ?? ''))
  const method = options.get('method')
  const rerank = options.get('rerank')
  return {
    query: textOfPart(queryPart ?? ''),
    knowledgeBaseIds: options.getAll('kb'),
    method: method === 'vector_search' || method === 'full_text' ? method : 'hybrid',
    fusion: options.get('fusion') === 'weighted' ? 'weighted' : 'rrf',
    vectorWeight: numberIn(options.get('weight'), 0, 1),
    topK: Math.round(numberIn(options.get('top'), 1, 100) ?? NOTHING_ASKED.topK),
    rerank: rerank === 'true' ? true : rerank === 'false' ? false : null,
    maxPerSource: numberIn(options.get('cap'), 1, 100),
    deduplicate: options.get('once') === 'true',
  }
}
