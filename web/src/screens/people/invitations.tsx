import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { MailPlus } from 'lucide-react'
import { useRef, type FormEvent } from 'react'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Person } from '../../app/people.tsx'
import {
  Badge,
  Button,
  Card,
  DataTable,
  EmptyState,
  ErrorNotice,
  Row,
  SelectField,
  Stack,
  TextField,
  Time,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { ROLES } from './members.tsx'
import { oneChanged } from './one-changed.ts'

/** Who is invited and has not come yet, and inviting. */
export function Invitations() {
  const { supabase, tenant, can } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const form = useRef<HTMLFormElement>(null)
  const invitations = useQuery({
    queryKey: ['invitations'],
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .from('invitations')
          .select('*')
          .eq('tenant_id', tenant.id)
          .is('accepted_at', null)
          .order('created_at', { ascending: false })
          .limit(200)
          .abortSignal(signal),
      ),
  })
  const refresh = () => queryClient.invalidateQueries({ queryKey: ['invitations'] })
  const invite = useMutation({
    mutationFn: async (invitation: { email: string; role: string }) =>
      dataOf(
        await supabase
          .from('invitations')
          .insert({ ...invitation, tenant_id: tenant.id })
          .select('id'),
      ),
    onSuccess: (_rows, { email }) => {
      form.current?.reset()
      toast.done(`${email} is invited`, 'They find the invitation when they sign in here with that address.')
    },
    onSettled: refresh,
  })
  const withdraw = useMutation({
    mutationFn: async (id: string) =>
      oneChanged(dataOf(await supabase.from('invitations').delete().eq('id', id).select('id'))),
    onError: (error) => toast.failed('The invitation stands', error),
    onSettled: refresh,
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const values = new FormData(event.currentTarget)
    invite.mutate({ email: String(values.get('email')).trim().toLowerCase(), role: String(values.get('role')) })
  }
  return (
    <Stack>
      <Card title="Invite somebody">
        <form ref={form} onSubmit={submit}>
          <Stack gap={3}>
            <Row even>
              <TextField label="E-mail address" name="email" type="email" required />
              <SelectField
                label="Role"
                name="role"
                defaultValue="member"
                options={ROLES.filter((role) => can('owner') || role !== 'owner').map((role) => ({
                  value: role,
                  label: role,
                }))}
              />
            </Row>
            {invite.error && <ErrorNotice error={invite.error} />}
            <Row>
              <Button kind="primary" type="submit" busy={invite.isPending && 'Inviting…'}>
                Invite
              </Button>
            </Row>
          </Stack>
        </form>
      </Card>
      {invitations.error && <ErrorNotice error={invitations.error} onRetry={() => void invitations.refetch()} />}
      {invitations.isPending && <Waiting what="Reading who is invited" />}
      {invitations.data?.length === 0 && (
        <EmptyState title="Nobody is waiting to join" icon={<MailPlus size={40} />}>
          An invitation holds for one address and one role. Only somebody who has confirmed that address can accept it.
        </EmptyState>
      )}
      {invitations.data && invitations.data.length > 0 && (
        <DataTable
          caption="Open invitations"
          rows={invitations.data}
          keyOf={({ id }) => id}
          columns={[
            { title: 'Address', isHead: true, cell: ({ email }) => email },
            { title: 'Role', cell: ({ role }) => <Badge>{role}</Badge> },
            { title: 'Invited by', cell: ({ invited_by }) => <Person id={invited_by} /> },
            {
              title: 'Until',
              cell: ({ expires_at }) =>
                new Date(expires_at) < new Date() ? <Badge tone="warn">expired</Badge> : <Time at={expires_at} />,
            },
            {
              title: 'Actions',
              hideTitle: true,
              cell: ({ id, email }) => (
                <Button
                  small
                  kind="danger"
                  aria-label={`Withdraw the invitation of ${email}`}
                  busy={withdraw.isPending && withdraw.variables === id && 'Withdrawing…'}
                  onClick={() => withdraw.mutate(id)}
                >
                  Withdraw
                </Button>
              ),
            },
          ]}
        />
      )}
    </Stack>
  )
}
