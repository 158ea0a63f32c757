import { useMutation, useQuery } from '@tanstack/react-query'
import { supabase } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Button, Card, ErrorNotice, Row, Stack, Time } from '../../ui/index.ts'

/** Invitations to the signed-in person's own address; nothing where there are none. */
export function MyInvitations({ onJoined }: { onJoined: (tenantId: string) => void }) {
  const invitations = useQuery({
    queryKey: ['my-invitations'],
    queryFn: async ({ signal }) =>
      dataOf(await supabase.rpc('my_invitations').setHeader('x-tenant-id', '').abortSignal(signal)),
    refetchInterval: 10_000,
  })
  const accept = useMutation({
    mutationFn: async (id: string) =>
      dataOf(await supabase.rpc('accept_invitation', { invitation_id: id }).setHeader('x-tenant-id', '')),
    onSuccess: ({ tenant_id }) => {
      void invitations.refetch()
      onJoined(tenant_id)
    },
  })
  if (invitations.error) return <ErrorNotice error={invitations.error} onRetry={() => void invitations.refetch()} />
  if (!invitations.data?.length) return null
  return (
    <Card title="You are invited">
      <Stack gap={3}>
        {invitations.data.map((invitation) => (
          <Row key={invitation.id}>
            <span>
              to <strong>{invitation.tenant_name}</strong> as {invitation.role}
              {invitation.invited_by_email && ` by ${invitation.invited_by_email}`}, until{' '}
              <Time at={invitation.expires_at} exact />
            </span>
            <Button
              small
              kind="primary"
              busy={accept.isPending && accept.variables === invitation.id && 'Joining…'}
              onClick={() => accept.mutate(invitation.id)}
            >
              Join
            </Button>
          </Row>
        ))}
        {accept.error && <ErrorNotice error={accept.error} />}
      </Stack>
    </Card>
  )
}
