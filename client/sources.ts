import { tablesOf } from './connection.ts'
import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'

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
    /** Of this place; what `cancelIndexing` takes. */
    id: string
    knowledge_base_id: string
    index_status: string
    reason_code: string | null
    error_message: string | null
  }[]
  [key: string]: unknown
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

/** One place where a source is indexed, or will be. */
export type Indexing = {
  id: string
  knowledge_base_id: string
  source_id: string
  index_status: 'pending' | 'indexing' | 'indexed' | 'failed' | 'cancelled'
  [key: string]: unknown
}

/** Who besides the owner may read a source with visibility `granted`: a person or a group. */
export type SourceGrant = { id: string; user_id: string | null; group_id: string | null; created_at: string }

const SOURCE_COLUMNS =
  'id,tenant_id,owner_id,name,file_type,mime_type,size_bytes,visibility,extraction_status,error_code,reason_code,error_message,' +
  'attempts,next_retry_at,uploaded_at,extracted_at,page_count,metadata,created_at,updated_at'

const FINAL_STATUSES = new Set(['failed', 'attention_required', 'cancelled'])

/** Documents: bringing them in, watching, changing and removing them, and who they are granted to. */
export function sourceMethods(connection: Connection) {
  const methods = {
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
      return (await connection.call('sources', { method: 'POST', body: form, signal: upload.signal })) as Source
    },

    /** The source with its state; `error_message` says in a sentence what went wrong. */
    async getSource(id: string): Promise<Source> {
      return (await connection.call(`sources/${encodeURIComponent(id)}`, { method: 'GET' })) as Source
    },

    /**
     * Waits until the source can be searched in every knowledge base it was put into.
     * Throws the source's own reason (`reason_code`) when it cannot be, and `timeout` after `timeoutMs` (default 5 minutes).
     */
    async waitUntilIndexed(id: string, wait: { timeoutMs?: number; intervalMs?: number } = {}): Promise<Source> {
      const deadline = Date.now() + (wait.timeoutMs ?? 300_000)
      for (;;) {
        const source = await methods.getSource(id)
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
      await connection.call(`sources/${encodeURIComponent(id)}`, { method: 'DELETE' })
    },

    /** A link to the bytes, valid for at most 60 seconds. */
    async downloadUrl(id: string): Promise<{ url: string; expires_at: string }> {
      return (await connection.call(`sources/${encodeURIComponent(id)}/download`, { method: 'GET' })) as {
        url: string
        expires_at: string
      }
    },

    /**
     * Changes what is said about a source, and who sees it; that takes effect at the next statement of anybody. By its owner, or
     * by an admin who sees it. Throws `not_found`, `forbidden`, and `conflict` when the tenant has the same bytes already.
     */
    async updateSource(
      id: string,
      changes: { name?: string; visibility?: Source['visibility']; metadata?: Record<string, unknown> },
    ): Promise<Source> {
      const sources = () => tablesOf(connection, 'ai').from('sources')
      const [changed] = await connection.query<Source[]>(sources().update(changes).eq('id', id).select(SOURCE_COLUMNS))
      if (changed) return changed
      const seen = await connection.query<unknown[]>(sources().select('id').eq('id', id))
      throw seen.length > 0
        ? new BulkheadError('Only its owner and admins can change a source.', { code: 'forbidden', status: 403 })
        : new BulkheadError('Source not found.', { code: 'not_found', status: 404 })
    },

    /**
     * Tries again what failed: the extraction, or the indexing if only that did. Throws `not_found`, and `not_retryable` when
     * nothing has failed.
     */
    async retrySource(id: string): Promise<Source> {
      return await connection.rpc<Source>('ai', 'retry_source', { source_id: id })
    },

    /**
     * Extracts a source anew and indexes it anew wherever it is indexed; until then search finds what it found. Throws
     * `not_found`, and `not_retryable` while it is being worked on.
     */
    async reextractSource(id: string): Promise<Source> {
      return await connection.rpc<Source>('ai', 'reextract_source', { source_id: id })
    },

    /** Calls extraction off; `retrySource` takes it up again. Throws `not_found`, and `conflict` when it is over. */
    async cancelExtraction(id: string): Promise<Source> {
      return await connection.rpc<Source>('ai', 'cancel_extraction', { source_id: id })
    },

    /**
     * Puts an extracted source into a knowledge base; where it is already, indexes it anew. Throws `not_found` and
     * `source_not_extracted`.
     */
    async indexSource(id: string, knowledgeBaseId: string): Promise<Indexing> {
      return await connection.rpc<Indexing>('ai', 'add_source_to_knowledge_base', {
        knowledge_base_id: knowledgeBaseId,
        source_id: id,
      })
    },

    /**
     * Calls an indexing off; what was searchable before stays so. Throws `not_found`, and `conflict` when it is over.
     * @param indexedSourceId id of the place, e.g. of an entry of `Source.indexing`.
     */
    async cancelIndexing(indexedSourceId: string): Promise<Indexing> {
      return await connection.rpc<Indexing>('ai', 'cancel_indexing', { indexed_source_id: indexedSourceId })
    },

    /** Who a source is granted to. Grants count only while its visibility is `granted`. Nothing for a source one cannot see. */
    async sourceGrants(id: string): Promise<SourceGrant[]> {
      return await connection.query<SourceGrant[]>(
        tablesOf(connection, 'ai')
          .from('source_grants')
          .select('id,user_id,group_id,created_at')
          .eq('source_id', id)
          .order('created_at')
          .order('id'),
      )
    },

    /**
     * Grants a source to a person or to a group of its tenant. Throws `not_found` for a source one cannot see and for who is not in
     * the tenant, `forbidden` for who is neither owner nor admin, `conflict` for a grant that is there already.
     */
    async grantSource(id: string, to: { userId: string } | { groupId: string }): Promise<SourceGrant> {
      const ai = tablesOf(connection, 'ai')
      const [source] = await connection.query<{ tenant_id: string }[]>(
        ai.from('sources').select('tenant_id').eq('id', id),
      )
      if (!source) throw new BulkheadError('Source not found.', { code: 'not_found', status: 404 })
      const grantee = 'userId' in to ? { user_id: to.userId } : { group_id: to.groupId }
      const [grant] = await connection.query<SourceGrant[]>(
        ai
          .from('source_grants')
          .insert({ tenant_id: source.tenant_id, source_id: id, ...grantee })
          .select('id,user_id,group_id,created_at'),
      )
      return grant as SourceGrant
    },

    /** Takes a grant back. Throws `not_found` when there is none that the caller may take back. */
    async removeGrant(grantId: string): Promise<void> {
      const gone = await connection.query<unknown[]>(
        tablesOf(connection, 'ai').from('source_grants').delete().eq('id', grantId).select('id'),
      )
      if (gone.length === 0) throw new BulkheadError('Grant not found.', { code: 'not_found', status: 404 })
    },
  }
  return methods
}
