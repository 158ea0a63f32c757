import { CSPProvider } from '@base-ui/react/csp-provider'
import type { Session } from '@supabase/supabase-js'
import { QueryClientProvider } from '@tanstack/react-query'
import { useEffect, useMemo, useState } from 'react'
import { Router } from 'wouter'
import { useHashLocation } from 'wouter/use-hash-location'
import { createBulkhead } from '../../../client/index.ts'
import { SignIn } from '../screens/sign-in/sign-in.tsx'
import { NoTenant } from '../screens/sign-in/no-tenant.tsx'
import { ErrorNotice, ToastProvider, Waiting } from '../ui/index.ts'
import { BackendContext, createQueryClient, hasRank, nameTenant, supabase, type Backend } from './backend.ts'
import { type Membership, rememberedTenant, rememberTenant, useMemberships } from './memberships.ts'
import { Removed } from './removed.tsx'
import { useSession } from './session.ts'
import { Shell } from './shell.tsx'
import './theme.ts'

/** The whole console: who is signed in, in which tenant, and there the screens. */
export function App() {
  const session = useSession()
  return (
    <CSPProvider disableStyleElements>
      <ToastProvider>
        <Router hook={useHashLocation}>
          {session === undefined && <Waiting what="Looking whether you are signed in" />}
          {session === null && <SignIn />}
          {session && <Person key={session.user.id} session={session} />}
        </Router>
      </ToastProvider>
    </CSPProvider>
  )
}

function Person({ session }: { session: Session }) {
  // Of the person alone: nothing of a tenant is kept here.
  const [queryClient] = useState(createQueryClient)
  return (
    <QueryClientProvider client={queryClient}>
      <Tenancy userId={session.user.id} email={session.user.email ?? ''} />
    </QueryClientProvider>
  )
}

function Tenancy({ userId, email }: { userId: string; email: string }) {
  const memberships = useMemberships(userId)
  const [tenantId, setTenantId] = useState(rememberedTenant)
  /** What was shown last: who is removed from it is told so, and not taken to another tenant. */
  const [shown, setShown] = useState<Membership | null>(null)

  const list = memberships.data
  const named = list?.find((each) => each.tenantId === tenantId)
  const current = named ?? (shown ? undefined : list?.[0])
  useEffect(() => {
    if (!current) return
    rememberTenant(current.tenantId)
    setTenantId(current.tenantId)
    setShown(current)
  }, [current])

  const choose = (id: string) => {
    rememberTenant(id)
    setTenantId(id)
    setShown(null)
  }

  if (!list) {
    if (memberships.error) return <ErrorNotice error={memberships.error} onRetry={() => void memberships.refetch()} />
    return <Waiting what="Asking which tenants you belong to" />
  }
  if (!current && shown) return <Removed from={shown} others={list} onChoose={choose} />
  if (!current) return <NoTenant email={email} onJoined={choose} />
  return (
    <InTenant
      key={current.tenantId}
      membership={current}
      memberships={list}
      user={{ id: userId, email }}
      onChoose={choose}
      onDoubt={() => void memberships.refetch()}
    />
  )
}

function InTenant(props: {
  membership: Membership
  memberships: Membership[]
  user: Backend['user']
  onChoose: (tenantId: string) => void
  /** Something says that the membership may have changed. */
  onDoubt: () => void
}) {
  const { membership, memberships, user, onChoose, onDoubt } = props
  const { tenantId, tenantName, role } = membership
  // Before the first request of a screen: children render after this line.
  nameTenant(tenantId)
  const [queryClient] = useState(createQueryClient)
  useEffect(() => {
    const watch = queryClient.getQueryCache().subscribe((event) => {
      if (event.type === 'updated' && event.action.type === 'error') onDoubt()
    })
    return () => {
      watch()
      queryClient.clear()
    }
  }, [queryClient])
  const backend = useMemo<Backend>(
    () => ({
      supabase,
      bulkhead: createBulkhead(supabase, { tenantId }),
      tenant: { id: tenantId, name: tenantName },
      user,
      role,
      can: (least) => hasRank(role, least),
    }),
    [tenantId, tenantName, user.id, user.email, role],
  )
  return (
    <QueryClientProvider client={queryClient}>
      <BackendContext value={backend}>
        <Shell memberships={memberships} onChoose={onChoose} />
      </BackendContext>
    </QueryClientProvider>
  )
}
