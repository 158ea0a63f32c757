import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { watchAccount } from '../../../client/index.ts'
import { type Role, supabase } from './backend.ts'
import { dataOf } from '../lib/errors.ts'

export type Membership = { tenantId: string; tenantName: string; role: Role }

const KEY = 'bulkhead.tenant'

/** The tenant of this tab. Other tabs have theirs. */
export const rememberTenant = (id: string): void => sessionStorage.setItem(KEY, id)
export const rememberedTenant = (): string | null => sessionStorage.getItem(KEY)

/** How often it is asked whether the person still belongs; Realtime says so earlier where it is connected. */
const WATCH_MS = 4_000

/** All tenants of the person, watched: who is removed sees nothing more, in windows that are open as well. */
export function useMemberships(userId: string) {
  const memberships = useQuery({
    queryKey: ['memberships', userId],
    queryFn: async ({ signal }): Promise<Membership[]> => {
      const rows = dataOf(
        await supabase
          .from('memberships')
          .select('tenant_id, role, tenants(name)')
          .eq('user_id', userId)
          .order('tenant_id')
          .setHeader('x-tenant-id', '')
          .abortSignal(signal),
      )
      return rows.map((row) => ({
        tenantId: row.tenant_id,
        tenantName: row.tenants?.name ?? row.tenant_id,
        role: row.role as Role,
      }))
    },
    refetchInterval: WATCH_MS,
    refetchOnWindowFocus: 'always',
  })
  const { refetch } = memberships
  useEffect(() => {
    const look = (): void => void refetch()
    return watchAccount(supabase, userId, { membershipChanged: look, down: look })
  }, [userId, refetch])
  return memberships
}
