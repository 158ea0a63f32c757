import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { QueryClient } from '@tanstack/react-query'
import { createContext, useContext } from 'react'
import { createBulkhead } from '../../../client/index.ts'
import type { Database } from '../../../client/database.types.ts'
import { PROJECT } from '../env.ts'
import { tellError } from '../lib/errors.ts'

export type Role = 'viewer' | 'member' | 'admin' | 'owner'
export type Supabase = SupabaseClient<Database>

const RANK: Record<Role, number> = { viewer: 0, member: 1, admin: 2, owner: 3 }
export const hasRank = (role: Role, least: Role): boolean => RANK[role] >= RANK[least]

let tenantOfThisTab: string | null = null
/** Names the tenant that every request of this tab acts in. It can only narrow what the person may see. */
export const nameTenant = (id: string | null): void => {
  tenantOfThisTab = id
}

const fetchInTenant: typeof fetch = (input, init) => {
  const url = input instanceof Request ? input.url : String(input)
  // Auth and Storage know nothing of tenants and may refuse a header that they have not heard of.
  if (!/\/(rest|functions)\/v1\//.test(url)) return fetch(input, init)
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined))
  // An empty header is how a query says that it asks beyond the tenant of this tab.
  if (headers.get('x-tenant-id') === '') headers.delete('x-tenant-id')
  else if (tenantOfThisTab && !headers.has('x-tenant-id')) headers.set('x-tenant-id', tenantOfThisTab)
  return fetch(input, { ...init, headers })
}

/** The only connection of the console: plain supabase-js with the publishable key and the person's own session. */
export const supabase: Supabase = createClient<Database>(PROJECT.url, PROJECT.publishableKey, {
  auth: { detectSessionInUrl: false, storageKey: 'bulkhead.session' },
  global: { fetch: fetchInTenant },
})

/** One cache for each tenant and person; never shared, so that nothing of one can show up in the other. */
export const createQueryClient = (): QueryClient =>
  new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 2_000,
        // What was refused stays refused; what had no answer may have one now.
        retry: (count, error) => count < 2 && [0, 502, 503, 504].includes(tellError(error).status ?? 1),
      },
    },
  })

export type Backend = {
  supabase: Supabase
  /** The typed client, in this tab's tenant. */
  bulkhead: ReturnType<typeof createBulkhead>
  tenant: { id: string; name: string }
  user: { id: string; email: string }
  role: Role
  /** Whether the role suffices. Only for what is offered: Postgres decides again. */
  can: (least: Role) => boolean
}

export const BackendContext = createContext<Backend | null>(null)

/** The connection, person and tenant of this tab. Only inside the shell. */
export function useBackend(): Backend {
  const backend = useContext(BackendContext)
  if (!backend) throw new Error('useBackend is for screens inside the shell.')
  return backend
}
