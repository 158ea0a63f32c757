/**
 * The run and ingestion ledger. This is the only module that uses the secret key, and it can do nothing with it but call
 * the functions below: state transitions of runs, turns, extraction and indexing, fenced by leases in SQL. It never
 * reads documents, chunks, sessions or tool data on a user's behalf.
 */
import { createClient } from '@supabase/supabase-js'
import { agentCalls, traceArgs } from './agent-ledger.ts'
import type { RunTraceRecord } from './agent-ledger.ts'
import { budgetCalls } from './budget-ledger.ts'
import { enrichmentCalls } from './enrichment-ledger.ts'
import { keyMap, optional, required, type Env } from './env.ts'
import { fromPostgrest } from './errors.ts'
import { boundedFetch } from './fetch.ts'
import { limitCalls } from './limits-ledger.ts'
import { pageImageCalls, type WantedPageImages } from './page-images-ledger.ts'
import { queueCalls } from './queue-ledger.ts'
import { runCalls } from './run-ledger.ts'
import type { LogWrite } from './run-ledger.ts'
import { storable } from './storable.ts'

export type {
  ApprovalOutcome,
  ApprovalQuestion,
  AssignedKnowledgeBase,
  AssignedMcpServer,
  AssignedTool,
  RunConfiguration,
  RunDelegation,
  RunTraceRecord,
} from './agent-ledger.ts'

export type LedgerOptions = {
  /** Base URL of the project. */
  url: string
  /** An `sb_secret_...` key or the legacy service_role token. */
  secretKey: string
  fetch?: typeof fetch
  /** How long one call may take, in milliseconds. Default 30,000. */
  timeoutMs?: number
}

/** What a resource of the named kind may be resolved by. */
export type ResourceKind =
  | 'agent'
  | 'source'
  | 'knowledge_base'
  | 'indexed_source'
  | 'session'
  | 'run'
  | 'tool'
  | 'context_handler'

export type ExtractionClaim = {
  lease_token: string
  source_id: string
  tenant_id: string
  name: string
  file_type: string
  mime_type: string
  size_bytes: number
  content_hash: string
  storage_path: string
  attempts: number
  /** Who held it before and has gone without a word, killed or ended by its platform; else null. */
  lost_holder: string | null
}

export type IndexingClaim = WantedPageImages & {
  lease_token: string
  indexed_source_id: string
  tenant_id: string
  source_id: string
  knowledge_base_id: string
  source_name: string
  page_count: number
  indexing_config: Record<string, unknown>
  attempts: number
  /** Model that the knowledge base is searched by; null: nothing is indexed there yet. */
  embedding_model: string | null
}

export type ReembeddingClaim = {
  lease_token: string
  reembedding_id: string
  tenant_id: string
  /** Null: the memories of the tenant. */
  knowledge_base_id: string | null
  /** Model that vectors are wanted of. */
  embedding_model: string
  attempts: number
}

/** A text without a vector of the wanted model. The vector counts only while the text has this hash. */
export type UnembeddedItem = { id: string; text: string; text_hash: string }

export type MemoryClaim = {
  memory_id: string
  tenant_id: string
  body: string
  /** The vector counts only while the text has this hash. */
  body_hash: string
  /** Model that the tenant's memories are searched by; null: none is embedded yet. */
  embedding_model: string | null
}

/** What the worker holds leases on, and what may wait without a job. */
export type LeaseKind = 'extraction' | 'indexing' | 'reembedding'
export type WorkKind = LeaseKind | 'memory'

export type StoredPage = { page_number: number; text: string }

export type StagedChunk = {
  chunk_index: number
  text: string
  start_char: number
  end_char: number
  tokens: number
  score: number
  meta: Record<string, unknown>
  /** What is embedded before the text; empty when nothing is. */
  context: string
  /** Tells whether a chunk staged by an earlier attempt is still the same. */
  content_hash: string
  embedding: number[]
}

/** Class of a failure; `rate_limited`, `transient` and `timeout` are retried by the queue. */
export type FailureCode = 'rate_limited' | 'transient' | 'timeout' | 'permanent' | 'no_content' | 'internal'

/** Why work was given back. `pending` means that the queue will try again, at about `nextRetryAt`. */
export type Failure<Status extends string> = {
  status: Status
  errorCode: FailureCode
  reasonCode: string
  message: string
  nextRetryAt?: Date
}

export type Usage = {
  prompt_tokens?: number
  completion_tokens?: number
  total_tokens?: number
  reasoning_tokens?: number
  cached_tokens?: number
}

export type RunOutcome = {
  runId: string
  leaseToken: string
  status: 'completed' | 'failed' | 'cancelled'
  content: string
  usage: Usage
  error?: string
  errorCode?: string
  citations?: Record<string, unknown>[]
  invalidCitationCount?: number
  outputMessages?: Record<string, unknown>[]
  /** The last events, stored in the same transaction; absent: the run's log is not written by its executor. */
  rest?: LogWrite
  /** What happened in it, as `recordRunTrace` takes it; absent: it stays as it is. */
  trace?: Omit<RunTraceRecord, 'runId' | 'leaseToken'>
}

export type ChatTurnOutcome = {
  sessionId: string
  userMessageId: string
  runId?: string
  content: string
  status: 'complete' | 'failed'
  payload?: Record<string, unknown>
}

/** Builds the ledger's client. All calls throw AppError as `fromPostgrest` makes it. */
export function createLedger({ url, secretKey, fetch: fetchWith = fetch, timeoutMs = 30_000 }: LedgerOptions) {
  const client = createClient(url, secretKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: boundedFetch(fetchWith, timeoutMs) },
  }).schema('ai')

  async function call<T>(name: string, args: Record<string, unknown>): Promise<T> {
    const { data, error } = await client.rpc(name, args)
    if (error) throw fromPostgrest(error)
    return data as T
  }
  const failure = ({ status, errorCode, reasonCode, message, nextRetryAt }: Failure<string>) => ({
    status,
    error_code: errorCode,
    reason_code: reasonCode,
    error_message: message,
    next_retry_at: nextRetryAt?.toISOString() ?? null,
  })

  return {
    ...agentCalls(call),
    ...budgetCalls(call),
    ...enrichmentCalls(call),
    ...limitCalls(call),
    ...runCalls(call),
    ...queueCalls(call),
    ...pageImageCalls(call),

    /**
     * The tenant a service-key call acts in and the `sub` of its delegated token.
     * @throws AppError `tenant_required`, `not_found`, `forbidden`.
     */
    resolveServiceTenant: (request: {
      kind?: ResourceKind
      resourceId?: string
      tenantHeader?: string
      defaultTenant?: string
      actAsUser?: string
    }) =>
      call<{ tenant_id: string; sub: string }>('resolve_service_tenant', {
        kind: request.kind ?? null,
        resource_id: request.resourceId ?? null,
        tenant_header: request.tenantHeader ?? null,
        default_tenant: request.defaultTenant ?? null,
        act_as_user: request.actAsUser ?? null,
      }),

    /** Ends a run. False when its lease is lost or it has ended already. */
    finishRun: (outcome: RunOutcome) =>
      call<boolean>('finish_run', {
        run_id: outcome.runId,
        lease_token: outcome.leaseToken,
        status: outcome.status,
        content: outcome.content,
        usage: outcome.usage,
        error: outcome.error ?? null,
        error_code: outcome.errorCode ?? null,
        citations: outcome.citations ?? [],
        invalid_citation_count: outcome.invalidCitationCount ?? 0,
        output_messages: outcome.outputMessages ?? null,
        first_seq: outcome.rest?.firstSeq ?? null,
        events: outcome.rest?.events ?? [],
        journal: storable(outcome.rest?.journal ?? []),
        trace: outcome.trace === undefined ? null : traceArgs(outcome.trace),
      }),
    /** Stores the answer to a user's message, once. */
    finishChatTurn: (turn: ChatTurnOutcome) =>
      call<{ id: string; created_at: string } & Record<string, unknown>>('finish_chat_turn', {
        session_id: turn.sessionId,
        user_message_id: turn.userMessageId,
        run_id: turn.runId ?? null,
        content: turn.content,
        status: turn.status,
        payload: turn.payload ?? {},
      }),

    /** Takes the lease on a source to extract; null when there is nothing to do or somebody else is at it. */
    claimExtraction: (sourceId: string, worker: string, leaseSeconds: number) =>
      call<ExtractionClaim | null>('claim_extraction', { source_id: sourceId, worker, lease_seconds: leaseSeconds }),
    saveSourcePages: (sourceId: string, leaseToken: string, pages: StoredPage[]) =>
      call<boolean>('save_source_pages', { source_id: sourceId, lease_token: leaseToken, pages }),
    /** The text is complete; with `rendersPages` the pages of a PDF are queued to be drawn. False when the lease is lost. */
    finishExtraction: (
      sourceId: string,
      leaseToken: string,
      pageCount: number,
      autoMetadata: Record<string, unknown>,
      rendersPages = false,
    ) =>
      call<boolean>('finish_extraction', {
        source_id: sourceId,
        lease_token: leaseToken,
        page_count: pageCount,
        auto_metadata: autoMetadata,
        render_pages: rendersPages,
      }),
    failExtraction: (
      sourceId: string,
      leaseToken: string,
      reason: Failure<'failed' | 'attention_required' | 'pending'>,
    ) => call<boolean>('fail_extraction', { source_id: sourceId, lease_token: leaseToken, ...failure(reason) }),

    /** Takes the lease on an indexed source; null when there is nothing to do or somebody else is at it. */
    claimIndexing: (indexedSourceId: string, worker: string, leaseSeconds: number) =>
      call<IndexingClaim | null>('claim_indexing', {
        indexed_source_id: indexedSourceId,
        worker,
        lease_seconds: leaseSeconds,
      }),
    /** Pages of the source under indexing, from `fromPage` (from 1) on, at most `limit`; none when the lease is lost. */
    readPages: (indexedSourceId: string, leaseToken: string, fromPage: number, limit: number) =>
      call<StoredPage[]>('read_pages', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
        from_page: fromPage,
        page_limit: limit,
      }),
    /** What an earlier attempt has embedded already. */
    readStagedChunks: (indexedSourceId: string, leaseToken: string) =>
      call<{ chunk_index: number; content_hash: string; embedding_model: string }[]>('read_staged_chunks', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
      }),
    /** What earlier attempts were told by a model, from place `fromChunk` of the staged chunks on. */
    readStagedMeta: (indexedSourceId: string, leaseToken: string, fromChunk: number) =>
      call<{ chunk_index: number; content_hash: string; meta: Record<string, unknown> }[]>('read_staged_meta', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
        from_chunk: fromChunk,
      }),
    stageChunks: (indexedSourceId: string, leaseToken: string, chunks: StagedChunk[], embeddingModel: string) =>
      call<boolean>('stage_chunks', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
        chunks,
        embedding_model: embeddingModel,
      }),
    /** Swaps the staged chunks in, all at once. */
    finishIndexing: (
      indexedSourceId: string,
      leaseToken: string,
      chunkCount: number,
      embeddingModel: string,
      stats: Record<string, unknown>,
    ) =>
      call<boolean>('finish_indexing', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
        chunk_count: chunkCount,
        embedding_model: embeddingModel,
        stats,
      }),
    failIndexing: (indexedSourceId: string, leaseToken: string, reason: Failure<'failed' | 'pending'>) =>
      call<boolean>('fail_indexing', {
        indexed_source_id: indexedSourceId,
        lease_token: leaseToken,
        ...failure(reason),
      }),

    /** Takes the lease on a re-embedding; null when there is nothing to do or somebody else is at it. */
    claimReembedding: (id: string, worker: string, leaseSeconds: number) =>
      call<ReembeddingClaim | null>('claim_reembedding', { reembedding_id: id, worker, lease_seconds: leaseSeconds }),
    /** At most `limit` (1 to 1000) texts that lack the vector; null when the lease is lost. */
    readUnembedded: (id: string, leaseToken: string, limit: number) =>
      call<UnembeddedItem[] | null>('read_unembedded', {
        reembedding_id: id,
        lease_token: leaseToken,
        item_limit: limit,
      }),
    storeReembedded: (
      id: string,
      leaseToken: string,
      items: (Pick<UnembeddedItem, 'id' | 'text_hash'> & { embedding: number[] })[],
    ) => call<boolean>('store_reembedded', { reembedding_id: id, lease_token: leaseToken, items }),
    /** `switched`: searched by it from now on; `complete`: a person switches; `incomplete`: more has come; `lost`: the lease. */
    finishReembedding: (id: string, leaseToken: string) =>
      call<'switched' | 'complete' | 'incomplete' | 'lost'>('finish_reembedding', {
        reembedding_id: id,
        lease_token: leaseToken,
      }),
    failReembedding: (id: string, leaseToken: string, reason: Failure<'failed' | 'pending'>) =>
      call<boolean>('fail_reembedding', { reembedding_id: id, lease_token: leaseToken, ...failure(reason) }),

    /** The text of a memory that has no vector; null when there is nothing to do. */
    claimMemory: (id: string) => call<MemoryClaim | null>('claim_memory', { memory_id: id }),
    /** False when the text, or the model that memories are searched by, has changed since the claim. */
    storeMemoryVector: (id: string, bodyHash: string, embeddingModel: string, embedding: number[]) =>
      call<boolean>('store_memory_vector', {
        memory_id: id,
        body_hash: bodyHash,
        embedding_model: embeddingModel,
        embedding,
      }),

    renewLease: (kind: LeaseKind, id: string, leaseToken: string, leaseSeconds: number) =>
      call<boolean>('renew_lease', { kind, id, lease_token: leaseToken, lease_seconds: leaseSeconds }),
    /** The queue has given up on it. False when it has been finished or taken up again meanwhile. */
    markDeadLetter: (kind: LeaseKind, id: string, message: string) =>
      call<boolean>('mark_dead_letter', { kind, id, error_message: message }),
    /** Queues a job; null when one with the same `dedupe` waits already. */
    enqueue: (queue: string, payload: { id: string }, dedupe?: string) =>
      call<string | null>('enqueue', { queue, payload, dedupe: dedupe ?? null }),

    /** Keys of objects that nobody needs any more; null when they have been removed. */
    claimObjectRemoval: (id: string) =>
      call<{ storage_path: string; more_paths?: string[] } | null>('claim_object_removal', { id }),
    finishObjectRemoval: (id: string) => call<null>('finish_object_removal', { id }),
  }
}

export type Ledger = ReturnType<typeof createLedger>

/** The ledger of the project that the environment names. @throws Error naming what is missing. */
export function ledgerFromEnv(env: Env): Ledger {
  const secretKey = keyMap(env, 'SUPABASE_SECRET_KEYS')[0] ?? optional(env, 'SUPABASE_SERVICE_ROLE_KEY')
  if (secretKey === undefined) throw new Error('Set SUPABASE_SECRET_KEYS or SUPABASE_SERVICE_ROLE_KEY.')
  return createLedger({ url: required(env, 'SUPABASE_URL').replace(/\/+$/, ''), secretKey })
}
