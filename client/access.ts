import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'

/** Why somebody sees a source. */
export type AccessReason =
  | { reason: 'owner' }
  /** Every member of the tenant sees it. */
  | { reason: 'tenant' }
  /** Granted to the person. */
  | { reason: 'granted' }
  | { reason: 'group'; group_id: string; group_name: string }

/** Somebody who can see a source. */
export type SourceReader = { user_id: string; email: string; role: string; reasons: AccessReason[] }

/** A source that somebody can see. */
export type ReadableSource = {
  source_id: string
  name: string
  file_type: string
  visibility: 'tenant' | 'private' | 'granted'
  owner_id: string | null
  created_at: string
  reasons: AccessReason[]
}

/** What goes with a source. */
export type SourceDeletion = {
  name: string
  size_bytes: number
  /** Whether the caller may delete it. */
  can_delete: boolean
  pages: number
  chunks: number
  knowledge_bases: { id: string; name: string }[]
  grants: number
  /** In the caller's own answers: they stay, with their excerpt, and lose the link. */
  citations: number
}

/** Who sees what, and why; always of what the caller can see. */
export function accessMethods(connection: Connection) {
  return {
    /**
     * Who can see a source, and why. The tenant's backend sees everything and is not listed. Throws `not_found` for a source the
     * caller cannot see, and `conflict` where the app has brought its own policies for sources.
     */
    async sourceAccess(sourceId: string): Promise<SourceReader[]> {
      return await connection.rpc<SourceReader[]>('ai', 'source_access', { source_id: sourceId })
    },

    /**
     * What a member of a tenant can see, and why, the newest first: as far as the caller sees it too. Throws `not_found` for who
     * is not in a tenant of the caller's, and `conflict` as above.
     * @param ask `userId`: default the caller. `after`: the last row of the page before. `limit`: 1 to 500, default 50.
     */
    async personAccess(
      ask: { userId?: string; tenantId?: string; limit?: number; after?: ReadableSource } = {},
    ): Promise<ReadableSource[]> {
      return await connection.rpc<ReadableSource[]>('ai', 'person_access', {
        tenant_id: await connection.tenant(ask.tenantId),
        user_id: ask.userId,
        max_rows: ask.limit,
        before_created_at: ask.after?.created_at,
        before_source_id: ask.after?.source_id,
      })
    },

    /** What will go when a source is deleted, as far as the caller can see it. Throws `not_found`. */
    async sourceDeletion(sourceId: string): Promise<SourceDeletion> {
      const [deletion] = await connection.rpc<SourceDeletion[]>('ai', 'source_deletion', { source_id: sourceId })
      if (!deletion) throw new BulkheadError('Source not found.', { code: 'not_found', status: 404 })
      return deletion
    },
  }
}
