import type { SupabaseClient } from '@supabase/supabase-js'
import { type ChatEvent, parseChatEvent } from './chat-events.ts'
import type { Database } from './database.types.ts'
import { BulkheadError, errorFromResponse } from './errors.ts'
import { followRun } from './follow-run.ts'
import type { FollowRunOptions } from './follow-run.ts'
import { readEvents } from './read-events.ts'
import type { RunFollower } from './run-follower.ts'
import type { RunEvent } from './run-reducer.ts'

export type { ChatEvent, Citation } from './chat-events.ts'
export type { Database } from './database.types.ts'
export { BulkheadError } from './errors.ts'
export { followRun, watchRuns } from './follow-run.ts'
export type { FollowRunOptions } from './follow-run.ts'
export { createRunFollower } from './run-follower.ts'
export type { RunFollower, RunFollowerOptions, RunListener, RunLogPage, RunTransport } from './run-follower.ts'
export { createRunReducer } from './run-reducer.ts'
export type { RunEvent, RunReducer, RunState, RunSummary, RunToolCall } from './run-reducer.ts'

/** A source as the `sources` function answers it. */
export type Source = {
  id: string
  tenant_id: string
  name: string
  file_type: string
  size_bytes: number
  visibility: 'tenant' | 'private' | 'granted'
  extraction_status: 'pending' | 'extracting' | 'extracted' | 'attention_required' | 'failed' | 'cancelled'
  reason_code: string | null
  error_message: string | null
  page_count: number | null
  /** Where it is indexed, or will be. */
  indexing?: {
    knowledge_base_id: string
    index_status: string
    reason_code: string | null
    error_message: string | null
  }[]
  [key: string]: unknown
}

export type SearchResult = {
  chunk_id: string
  source_id: string
  source_name: string | null
  knowledge_base_id: string
  text: string
  /** 1 is the best of this search; for `vector_search`, the cosine similarity. */
  score: number
  /** Cosine similarity; null where only words matched. */
  vector_score: number | null
  /** BM25; null where no word matched. */
  text_score: number | null
  /** Place among the chunks of its source, from 0. */
  chunk_index: number
  /** Offsets in the source's pages joined by two line feeds, as `String.prototype.slice` counts. */
  start_char: number
  end_char: number
  /** Pages it stands on, from 1. */
  pages: number[]
  /** Also `heading_path`, and `reranker_score` where a reranker scored it. */
  meta: Record<string, unknown>
  /** Ranks, scores and matched terms of each leg; with `explain`. */
  explanation?: Record<string, unknown>
}

/** A stretch of a source in a context: `text.slice(text_start, text_end)` is what stands at `start_char` to `end_char`. */
export type ContextSpan = {
  chunk_id: string
  start_char: number
  end_char: number
  page: number | null
  text_start: number
  text_end: number
}

/** Results as one text for a model: by document, each under its number `[n]`. */
export type SearchContext = {
  text: string
  /** Estimate: characters / 4. */
  tokens: number
  entries: {
    /** What `[n]` in the text means: the place among the results, from 1. */
    key: number
    chunk_id: string
    source_id: string
    /** True: its text stands in an entry above, and only a note is here. */
    is_shown_above: boolean
    spans: ContextSpan[]
  }[]
  /** Results that did not fit. */
  left_out: number
}

export type SearchAnswer = {
  results: SearchResult[]
  /** There when `context`, `neighbours` or `maxContextTokens` was asked for. */
  context?: SearchContext
  query: string
  method: string
  /** Models whose vectors were compared. */
  models: string[]
  /** Model that put the results in order; null: search alone did. */
  reranker: string | null
  /** What could not be done as asked, in sentences. */
  warnings?: string[]
  request_id: string
}

export type UploadOptions = {
  /** Needed for a Blob; a File brings its own. */
  name?: string
  visibility?: Source['visibility']
  metadata?: Record<string, unknown>
  /** Default: the tenant's default knowledge base. */
  knowledgeBaseIds?: string[]
  signal?: AbortSignal
}

export type SearchOptions = {
  query: string
  /** Default: all of the tenant's that the signed-in person can see. */
  knowledgeBaseIds?: string[]
  /** The same for one. */
  knowledgeBaseId?: string
  /** 1 to 100; default: what the knowledge base is set to, else 5. */
  topK?: number
  method?: 'hybrid' | 'vector_search' | 'full_text'
  /** How hybrid search puts its legs together: by ranks (default) or by scores. */
  fusion?: 'rrf' | 'weighted'
  /** Share of the vector leg, 0 to 1; default 0.5, with `weighted` 0.7. */
  vectorWeight?: number
  /** Least cosine similarity, 0 to 1, for `vector_search`. */
  similarityThreshold?: number
  sourceIds?: string[]
  /** What the source's metadata must contain. */
  filterMetadata?: Record<string, unknown>
  /** Results of one source at most. */
  maxPerSource?: number
  /** Leave out results whose text a better one has. */
  deduplicate?: boolean
  /** Rescore by the configured reranker, or not; default: what the knowledge base is set to. */
  rerank?: boolean | { candidateCount: number }
  /** Make a context of the results, or of the whole pages they stand on. */
  context?: 'chunks' | 'pages'
  /** Chunks before and after each result that go into the context, 0 to 5. */
  neighbours?: number
  /** Allowance of the context, in tokens (characters / 4); default 16000. */
  maxContextTokens?: number
  /** Say of each result how it was found. */
  explain?: boolean
  signal?: AbortSignal
}

export type ChatOptions = {
  message: string
  /** Default: a new session; the first event names it. */
  sessionId?: string
  /** Default: the session's agent, or the tenant's default agent. */
  agentId?: string
  knowledgeBaseIds?: string[]
  signal?: AbortSignal
}

export type BulkheadOptions = {
  /** Which of the caller's tenants to act in. Needed by people in several; it can only narrow what they see. */
  tenantId?: string
}

// The client of any schema set: the app may have typed it with its own tables as well.
type AnyClient = SupabaseClient<Database> | SupabaseClient

const FINAL_STATUSES = new Set(['failed', 'attention_required', 'cancelled'])

/**
 * Bulkhead's functions over an existing supabase-js client, whose session says who is asking.
 *
 *     const bulkhead = createBulkhead(supabase)
 *     const source = await bulkhead.uploadSource(file)
 *     await bulkhead.waitUntilIndexed(source.id)
 *     for await (const event of bulkhead.chat({ message: 'What is covered?' })) …
 *
 * Every method throws BulkheadError when the answer is no.
 */
export function createBulkhead(supabase: AnyClient, options: BulkheadOptions = {}) {
  const headers: Record<string, string> = options.tenantId ? { 'x-tenant-id': options.tenantId } : {}

  const call = async (
    path: string,
    request: {
      method: 'GET' | 'POST' | 'DELETE'
      body?: FormData | Record<string, unknown>
      signal?: AbortSignal | undefined
    },
  ): Promise<unknown> => {
    // Never `timeout` beside `signal`: supabase-js lets go of the signal once the headers are there.
    const { data, error } = await supabase.functions.invoke(path, {
      method: request.method,
      headers,
      ...(request.body === undefined ? {} : { body: request.body }),
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    })
    if (!error) return data
    request.signal?.throwIfAborted()
    const context: unknown = (error as { context?: unknown }).context
    if (context instanceof Response) throw await errorFromResponse(context)
    throw new BulkheadError(error.message, { code: 'network', status: 0 })
  }

  return {
    /**
     * Uploads a document of at most 20 MB and puts it into a knowledge base. Answers as soon as the bytes are stored; the
     * worker extracts and indexes after that. Throws `duplicate_source` (details.duplicate names the first upload).
     */
    async uploadSource(file: Blob, upload: UploadOptions = {}): Promise<Source> {
      const form = new FormData()
      const name = upload.name ?? (file instanceof File ? file.name : undefined)
      if (!name) throw new BulkheadError('A Blob needs a name.', { code: 'invalid_request', status: 400 })
      form.append('file', file, name)
      if (upload.visibility) form.append('visibility', upload.visibility)
      if (upload.metadata) form.append('metadata', JSON.stringify(upload.metadata))
      for (const id of upload.knowledgeBaseIds ?? []) form.append('knowledge_base_ids', id)
      return (await call('sources', { method: 'POST', body: form, signal: upload.signal })) as Source
    },

    /** The source with its state; `error_message` says in a sentence what went wrong. */
    async getSource(id: string): Promise<Source> {
      return (await call(`sources/${encodeURIComponent(id)}`, { method: 'GET' })) as Source
    },

    /**
     * Waits until the source can be searched in every knowledge base it was put into.
     * Throws the source's own reason (`reason_code`) when it cannot be, and `timeout` after `timeoutMs` (default 5 minutes).
     */
    async waitUntilIndexed(id: string, wait: { timeoutMs?: number; intervalMs?: number } = {}): Promise<Source> {
      const deadline = Date.now() + (wait.timeoutMs ?? 300_000)
      for (;;) {
        const source = await this.getSource(id)
        if (FINAL_STATUSES.has(source.extraction_status)) {
          throw new BulkheadError(source.error_message ?? `The source is ${source.extraction_status}.`, {
            code: source.reason_code ?? source.extraction_status,
            status: 422,
            details: source,
          })
        }
        const places = source.indexing ?? []
        const failed = places.find((place) => place.index_status === 'failed' || place.index_status === 'cancelled')
        if (failed) {
          throw new BulkheadError(failed.error_message ?? 'The source could not be indexed.', {
            code: failed.reason_code ?? 'indexing_failed',
            status: 422,
            details: source,
          })
        }
        if (source.extraction_status === 'extracted' && places.every((place) => place.index_status === 'indexed'))
          return source
        if (Date.now() > deadline) {
          throw new BulkheadError('The source is still being processed.', {
            code: 'timeout',
            status: 0,
            details: source,
          })
        }
        await new Promise((resolve) => setTimeout(resolve, wait.intervalMs ?? 500))
      }
    },

    /** Deletes the source, its text, its chunks and its bytes. */
    async deleteSource(id: string): Promise<void> {
      await call(`sources/${encodeURIComponent(id)}`, { method: 'DELETE' })
    },

    /** A link to the bytes, valid for at most 60 seconds. */
    async downloadUrl(id: string): Promise<{ url: string; expires_at: string }> {
      return (await call(`sources/${encodeURIComponent(id)}/download`, { method: 'GET' })) as {
        url: string
        expires_at: string
      }
    },

    /**
     * Searches what the signed-in person can see in one tenant; the best first. Throws `not_found` for a knowledge base that
     * is not theirs to see, and `tenant_required` for people in several tenants who name neither tenant nor knowledge base.
     */
    async search(search: SearchOptions): Promise<SearchResult[]> {
      return (await this.searchWithContext(search)).results
    },

    /** The same with all that is known about the results, and with a text for a model where one is asked for. */
    async searchWithContext(search: SearchOptions): Promise<SearchAnswer> {
      const { rerank, neighbours } = search
      const ids =
        search.knowledgeBaseIds ?? (search.knowledgeBaseId === undefined ? undefined : [search.knowledgeBaseId])
      // What is undefined is not sent.
      const body = {
        query: search.query,
        knowledge_base_ids: ids,
        top_k: search.topK,
        method: search.method,
        fusion: search.fusion,
        vector_weight: search.vectorWeight,
        similarity_threshold: search.similarityThreshold,
        source_ids: search.sourceIds,
        filter_metadata: search.filterMetadata,
        max_per_source: search.maxPerSource,
        deduplicate: search.deduplicate,
        rerank: typeof rerank === 'object' ? { candidate_count: rerank.candidateCount } : rerank,
        context: search.context,
        expand: neighbours === undefined ? undefined : { neighbors: neighbours },
        max_context_tokens: search.maxContextTokens,
        explain: search.explain,
      }
      return (await call('search', { method: 'POST', body, signal: search.signal })) as SearchAnswer
    },

    /**
     * Asks, and yields the events of the answer as they arrive. Print either the deltas or the final `chunk`, not both.
     * A connection that breaks, and a stream whose time is over, go on where they stopped, in the log of the run.
     * Leaving the loop or aborting the signal closes the connection; the answer is still finished and stored.
     * Throws `stream_cut` when the connection ends before `complete` and cannot be had again.
     */
    async *chat(chat: ChatOptions): AsyncGenerator<ChatEvent, void, undefined> {
      const body = {
        message: chat.message,
        ...(chat.sessionId ? { session_id: chat.sessionId } : {}),
        ...(chat.agentId ? { agent_id: chat.agentId } : {}),
        ...(chat.knowledgeBaseIds ? { knowledge_base_ids: chat.knowledgeBaseIds } : {}),
      }
      let position = { runId: '', sessionId: '', seq: 0 }
      let stream = await open('chat', { method: 'POST', body, signal: chat.signal })
      for (let attempt = 0; ; attempt++) {
        let cause: unknown
        try {
          for await (const event of eventsOf(stream)) {
            // What is resumed names the agent's session; the person's is the one of the beginning.
            const told =
              position.sessionId !== '' && (event.event === 'start' || event.event === 'complete')
                ? { ...event, session_id: position.sessionId }
                : event
            if (event.event === 'start') {
              position = { ...position, runId: event.run_id, sessionId: position.sessionId || event.session_id }
            }
            if (event.event === 'stream_end') continue
            if (event.seq !== undefined && event.seq > 0) {
              if (event.seq <= position.seq) continue
              position = { ...position, seq: event.seq }
              attempt = 0
            }
            yield told
            if (event.event === 'complete') return
          }
        } catch (error) {
          cause = error
        }
        chat.signal?.throwIfAborted()
        // Events without numbers are those of a foreign agent: they are in no log.
        if (position.seq === 0 || attempt >= RESUME_DELAYS_MS.length) throw cutOff(cause)
        stream = await resume(position, attempt, chat.signal)
      }
    },

    /**
     * The events of a run that is there already, after a position: first those of its log, then live. Ends with `complete`,
     * or earlier when the server's time for one stream is over (`stream_end`). Throws `not_found`.
     */
    async *streamRun(
      runId: string,
      from: { after?: number; signal?: AbortSignal } = {},
    ): AsyncGenerator<RunEvent, void, undefined> {
      const path = `api/agents/runs/${encodeURIComponent(runId)}/stream?after=${from.after ?? 0}`
      for await (const data of readEvents(await open(path, { method: 'GET', signal: from.signal }))) {
        const event = parseEvent(data)
        if (event !== null) yield event
      }
    },

    /**
     * Follows a run from any device: by Realtime, the log, and with `withStream` also by an event stream. Does nothing until
     * somebody subscribes.
     */
    followRun(runId: string, follow: Omit<FollowRunOptions, 'stream'> & { withStream?: boolean } = {}): RunFollower {
      const { withStream = false, ...rest } = follow
      return followRun(supabase, runId, {
        ...rest,
        ...(withStream ? { stream: (id, after, signal) => this.streamRun(id, { after, signal }) } : {}),
      })
    },

    /** Stops a run; its provider is cut off within a second. Throws `not_found`, and `run_not_active` for one that is over. */
    async cancelRun(runId: string): Promise<{ status: string }> {
      return (await call(`api/agents/runs/${encodeURIComponent(runId)}/cancel`, { method: 'POST', body: {} })) as {
        status: string
      }
    },
  }

  async function open(path: string, request: Parameters<typeof call>[1]): Promise<ReadableStream<Uint8Array>> {
    const response = await call(path, request)
    if (response instanceof Response && response.body) return response.body
    throw new BulkheadError('The server did not stream an answer.', { code: 'invalid_response', status: 502 })
  }

  /** Opens the stream of a run where another broke off, as soon as it can be had. */
  async function resume(
    { runId, seq }: { runId: string; seq: number },
    attempt: number,
    signal: AbortSignal | undefined,
  ): Promise<ReadableStream<Uint8Array>> {
    for (let next = attempt; ; next++) {
      await new Promise((resolve) => setTimeout(resolve, RESUME_DELAYS_MS[next]))
      signal?.throwIfAborted()
      try {
        return await open(`api/agents/runs/${encodeURIComponent(runId)}/stream?after=${seq}`, { method: 'GET', signal })
      } catch (error) {
        signal?.throwIfAborted()
        const isHopeless = error instanceof BulkheadError && error.status >= 400 && error.status < 429
        if (isHopeless || next + 1 >= RESUME_DELAYS_MS.length) throw cutOff(error)
      }
    }
  }
}

/** Milliseconds before each attempt to get a stream again that broke off. */
const RESUME_DELAYS_MS = [100, 500, 1_000, 2_000, 5_000]

const cutOff = (cause: unknown): BulkheadError => {
  const error = new BulkheadError('The answer was cut off.', { code: 'stream_cut', status: 0 })
  error.cause = cause
  return error
}

async function* eventsOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<ChatEvent, void, undefined> {
  for await (const data of readEvents(stream)) {
    const event = parseChatEvent(data)
    if (event) yield event
  }
}

function parseEvent(data: string): RunEvent | null {
  try {
    const value: unknown = JSON.parse(data)
    return typeof value === 'object' && value !== null ? (value as RunEvent) : null
  } catch {
    return null
  }
}

export type Bulkhead = ReturnType<typeof createBulkhead>
