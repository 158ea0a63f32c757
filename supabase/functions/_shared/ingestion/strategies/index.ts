import { doc2json } from './doc2json.ts'
import { fullDocument } from './full-document.ts'
import { graphIndex } from './graph-index.ts'
import { pageIndex } from './page-index.ts'
import type { IndexingStrategy } from './strategy.ts'

/** What a strategy does at indexing, by its name, from the settings of the knowledge base. Null: it only divides and embeds. */
const BY_NAME: Record<string, (config: Record<string, unknown>) => IndexingStrategy | null> = {
  full_document: fullDocument,
  page_index: pageIndex,
  graph_index: graphIndex,
  doc2json,
}

/** What the strategy of a knowledge base adds to indexing; null: nothing. */
export function strategyOf(config: Record<string, unknown> | null | undefined): IndexingStrategy | null {
  const name = config?.['strategy']
  if (typeof name !== 'string' || !Object.hasOwn(BY_NAME, name)) return null
  return BY_NAME[name]?.(config ?? {}) ?? null
}
