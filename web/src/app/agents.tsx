import { useQuery } from '@tanstack/react-query'
import { ShortId } from '../ui/index.ts'
import { useBackend } from './backend.ts'
import { dataOf } from '../lib/errors.ts'

/** Agents of this tenant by name. Shared by the screens that name or choose one. */
export function useAgents() {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['agents', 'names'],
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .schema('ai')
          .from('agents')
          .select('id, name, model, is_default, published')
          .order('name')
          .limit(200)
          .abortSignal(signal),
      ),
    staleTime: 30_000,
  })
}

/** An agent by name; one that is gone is known by id only. */
export function AgentName({ id }: { id: string | null | undefined }) {
  const agents = useAgents()
  if (!id) return <span>no agent</span>
  const name = agents.data?.find((agent) => agent.id === id)?.name
  return name ? <span>{name}</span> : <ShortId id={id} />
}
