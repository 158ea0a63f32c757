import { useQuery } from '@tanstack/react-query'
import { dataOf } from '../lib/errors.ts'
import { useBackend } from './backend.ts'

/** The knowledge bases of the tenant, the default one first. Shared by all screens. */
export function useKnowledgeBases() {
  const { supabase, tenant } = useBackend()
  return useQuery({
    queryKey: ['knowledge-bases'],
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .schema('ai')
          .from('knowledge_bases')
          .select('id, name, is_default')
          .eq('tenant_id', tenant.id)
          .order('is_default', { ascending: false })
          .order('name')
          .abortSignal(signal),
      ),
    staleTime: 30_000,
  })
}
