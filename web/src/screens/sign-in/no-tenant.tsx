import { useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { supabase } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Button, EmptyState, ErrorNotice, Stack, TextField } from '../../ui/index.ts'
import { MyInvitations } from './my-invitations.tsx'

/** For somebody who belongs to no tenant: found one, or wait for an invitation. */
export function NoTenant({ email, onJoined }: { email: string; onJoined: (tenantId: string) => void }) {
  const queryClient = useQueryClient()
  const [error, setError] = useState<unknown>(null)
  const [isBusy, setIsBusy] = useState(false)
  const joined = async (tenantId: string) => {
    onJoined(tenantId)
    await queryClient.invalidateQueries({ queryKey: ['memberships'] })
  }
  const create = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const name = String(new FormData(event.currentTarget).get('name'))
    setIsBusy(true)
    setError(null)
    try {
      const tenant = dataOf(await supabase.rpc('create_tenant', { name }).setHeader('x-tenant-id', ''))
      await joined(tenant.id)
    } catch (reason) {
      setError(reason)
    } finally {
      setIsBusy(false)
    }
  }
  return (
    <main>
      <EmptyState
        title="You belong to no tenant yet"
        actions={
          <Button kind="quiet" onClick={() => void supabase.auth.signOut({ scope: 'local' })}>
            Sign out
          </Button>
        }
      >
        <Stack>
          <MyInvitations onJoined={(id) => void joined(id)} />
          <p>
            A tenant is an organisation with documents, agents and people of its own. Ask an admin of yours to invite{' '}
            {email}, or found one: you will be its owner.
          </p>
          <form onSubmit={(event) => void create(event)}>
            <Stack gap={3}>
              <TextField label="Name of the new tenant" name="name" required maxLength={200} />
              {error !== null && <ErrorNotice error={error} />}
              <Button kind="primary" type="submit" busy={isBusy && 'Founding…'}>
                Found a tenant
              </Button>
            </Stack>
          </form>
        </Stack>
      </EmptyState>
    </main>
  )
}
