import type { Database } from '../../../../client/database.types.ts'
import type { Supabase } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { type Filter, UUID } from './filters.tsx'

export type AuditEvent = Database['ai']['Tables']['audit_events']['Row']

const DAY_MS = 86_400_000

/** A page of the log, the latest first: rows before `beforeSeq`, or from the end. */
export async function readEvents(
  supabase: Supabase,
  tenantId: string,
  filter: Filter,
  page: { beforeSeq: number | null; size: number; signal?: AbortSignal },
): Promise<AuditEvent[]> {
  let query = supabase.schema('ai').from('audit_events').select('*').eq('tenant_id', tenantId)
  if (filter.family) query = query.like('action', `${filter.family.replaceAll('_', '\\_')}.%`)
  if (filter.actorId) query = query.eq('actor_id', filter.actorId)
  // A run is the subject of its own rows and named in those of what was done in it.
  if (UUID.test(filter.subjectId)) query = query.or(`subject_id.eq.${filter.subjectId},run_id.eq.${filter.subjectId}`)
  if (filter.from) query = query.gte('occurred_at', new Date(`${filter.from}T00:00`).toISOString())
  if (filter.to)
    query = query.lt('occurred_at', new Date(new Date(`${filter.to}T00:00`).getTime() + DAY_MS).toISOString())
  if (page.beforeSeq !== null) query = query.lt('seq', page.beforeSeq)
  query = query.order('seq', { ascending: false }).limit(page.size)
  return dataOf(await (page.signal ? query.abortSignal(page.signal) : query))
}

/** Through whom something was done, in words; null when people acted themselves. */
export function throughWhom(act: AuditEvent['act']): string | null {
  const sub = typeof act === 'object' && act !== null && !Array.isArray(act) ? act['sub'] : null
  if (sub === 'agent') return 'an agent'
  if (sub === 'service_key') return 'the backend'
  if (sub === 'system') return 'the system'
  return null
}
