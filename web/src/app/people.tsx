import { useQuery } from '@tanstack/react-query'
import { ShortId } from '../ui/index.ts'
import { useBackend } from './backend.ts'
import { dataOf } from '../lib/errors.ts'

export type PersonRow = {
  user_id: string
  email: string
  role: string
  joined_at: string
  groups: { id: string; name: string }[]
}

/** Members of this tenant, owners first. Shared by all screens. */
export function usePeople() {
  const { supabase, tenant } = useBackend()
  return useQuery({
    queryKey: ['people'],
    queryFn: async ({ signal }) =>
      dataOf(await supabase.rpc('people', { tenant_id: tenant.id }).abortSignal(signal)) as unknown as PersonRow[],
    staleTime: 30_000,
  })
}

/** A person by address; who has left is known by id only. `null` is the tenant's backend. */
export function Person({ id }: { id: string | null | undefined }) {
  const { user } = useBackend()
  const people = usePeople()
  if (!id) return <span>the backend</span>
  if (id === user.id) return <span title={user.email}>you</span>
  const email = people.data?.find((person) => person.user_id === id)?.email
  return email ? (
    <span>{email}</span>
  ) : (
    <span>
      <ShortId id={id} />
      {people.data && ' (has left)'}
    </span>
  )
}
