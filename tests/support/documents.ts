import type { SupabaseClient } from '@supabase/supabase-js'
import { createBulkhead, type Source } from '../../client/index.ts'

/** Uploads a text as a document of the signed-in person and waits until it can be searched. */
export async function uploadText(supabase: SupabaseClient, name: string, text: string): Promise<Source> {
  const bulkhead = createBulkhead(supabase)
  const source = await bulkhead.uploadSource(new Blob([text], { type: 'text/markdown' }), { name })
  return bulkhead.waitUntilIndexed(source.id, { timeoutMs: 60_000, intervalMs: 100 })
}
