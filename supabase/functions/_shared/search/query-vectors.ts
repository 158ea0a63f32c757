import { decodeJwt } from 'jose'
import type { Caller } from '../context.ts'
import { AppError } from '../errors.ts'
import { withTimeout } from '../fetch.ts'
import type { Embedder } from '../providers/index.ts'
import { estimateTokens } from '../providers/text.ts'

/** Embeds queries, and remembers for a while what it has embedded, for each caller apart. */
export interface QueryVectors {
  /**
   * The vector of a query, of unit length.
   * @param onEmbedded is called once for a query that is embedded anew, also when `signal` has fired meanwhile.
   * @throws AppError what the embedder refuses; the reason of `signal` when that fires first.
   */
  vectorOf(
    caller: Caller,
    embedder: Embedder,
    query: string,
    signal?: AbortSignal,
    onEmbedded?: (use: EmbeddingUse) => void,
  ): Promise<number[]>
  /** Forgets a vector that turned out to be of no use: the next to ask embeds anew. */
  forget(caller: Caller, model: string, query: string): void
}

/** What embedding a query took. */
export type EmbeddingUse = {
  model: string
  tokens: number
  /** Whether the provider did not count. */
  isEstimate: boolean
}

/** Options of `createQueryVectors`; tests give their own. */
export type QueryVectorOptions = {
  /** Callers whose queries are remembered; the one who has not searched for the longest is forgotten first. */
  maxCallers?: number
  /** Queries that are remembered of one caller. */
  maxQueries?: number
  /** Milliseconds until a query is embedded anew. */
  ttlMs?: number
  now?: () => number
}

type Entry = { vector: Promise<number[]>; expiresAt: number }

/** Milliseconds an embedding may take, with the provider's own retries. */
const EMBEDDING_TIMEOUT_MS = 60_000

/** What the claims of a token narrow its holder to; nothing of it is trusted here, it only tells requests apart. */
function claimedTenants(token: string): unknown[] {
  try {
    const { tenant_id, app_metadata } = decodeJwt(token) as { tenant_id?: unknown; app_metadata?: unknown }
    return [tenant_id ?? null, (Object(app_metadata) as { tenant_id?: unknown }).tenant_id ?? null]
  } catch {
    return []
  }
}

/** A caller as the memory knows it: the person, and the tenant the request is narrowed to by header and token. */
const scopeOf = (caller: Caller) => JSON.stringify([caller.userId, caller.tenantId, ...claimedTenants(caller.token)])

const keyOf = (model: string, query: string) => JSON.stringify([model, query])

/** Makes the most recently used entry of a map its last. */
function touch<V>(map: Map<string, V>, key: string, value: V, limit: number): void {
  map.delete(key)
  map.set(key, value)
  const oldest = map.keys().next().value
  if (map.size > limit && oldest !== undefined) map.delete(oldest)
}

/** What `promise` gives, unless the signal fires first. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(signal.reason as Error)
    if (signal.aborted) return stop()
    signal.addEventListener('abort', stop, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}

/**
 * A memory of query vectors. Nothing is shared between callers, nor between the tenants of one caller: how fast an answer
 * comes tells nobody what others have asked, and room is divided by caller, so that neither does what is forgotten.
 * Equal questions that are asked at once are embedded once. Failures are not remembered.
 */
export function createQueryVectors(options: QueryVectorOptions = {}): QueryVectors {
  const { maxCallers = 50, maxQueries = 20, ttlMs = 10 * 60_000, now = Date.now } = options
  const callers = new Map<string, Map<string, Entry>>()

  return {
    vectorOf(caller, embedder, query, signal, onEmbedded) {
      const scope = scopeOf(caller)
      const queries = callers.get(scope) ?? new Map<string, Entry>()
      touch(callers, scope, queries, maxCallers)
      const key = keyOf(embedder.model, query)
      let entry = queries.get(key)
      if (entry === undefined || entry.expiresAt <= now()) {
        // Not ended by one asker's signal: another may be waiting for the same vector.
        const made: Entry = { vector: embedOne(embedder, query, onEmbedded), expiresAt: now() + ttlMs }
        made.vector.catch(() => {
          if (queries.get(key) === made) queries.delete(key)
        })
        entry = made
      }
      touch(queries, key, entry, maxQueries)
      return unlessAborted(entry.vector, signal)
    },
    forget(caller, model, query) {
      callers.get(scopeOf(caller))?.delete(keyOf(model, query))
    },
  }
}

async function embedOne(
  embedder: Embedder,
  query: string,
  onEmbedded: ((use: EmbeddingUse) => void) | undefined,
): Promise<number[]> {
  let counted: number | null = null
  const [vector] = await embedder.embed([query], withTimeout(undefined, EMBEDDING_TIMEOUT_MS), (tokens) => {
    counted = tokens
  })
  onEmbedded?.({ model: embedder.model, tokens: counted ?? estimateTokens(query), isEstimate: counted === null })
  if (vector === undefined) throw new AppError('upstream_failed', 'The embedding provider sent no vector.')
  return vector
}
