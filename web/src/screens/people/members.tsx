import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useBackend, type Role } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { type PersonRow, usePeople } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  Badge,
  Button,
  ConfirmDialog,
  DataTable,
  ErrorNotice,
  Row,
  SelectField,
  Time,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { oneChanged } from './one-changed.ts'

export const ROLES: readonly Role[] = ['viewer', 'member', 'admin', 'owner']

/** Everybody in the tenant; admins change roles and remove people, owners also those of owners. */
export function Members() {
  const { user, can } = useBackend()
  const people = usePeople()
  const [leaving, setLeaving] = useState<PersonRow | null>(null)
  if (people.error) return <ErrorNotice error={people.error} onRetry={() => void people.refetch()} />
  if (!people.data) return <Waiting what="Reading who is here" />
  const mayChange = (person: PersonRow): boolean => can('owner') || (can('admin') && person.role !== 'owner')
  return (
    <>
      <DataTable
        caption="Members"
        rows={people.data}
        keyOf={(person) => person.user_id}
        columns={[
          {
            title: 'Person',
            isHead: true,
            cell: (person) => (
              <>
                {person.email} {person.user_id === user.id && <Badge tone="accent">you</Badge>}
              </>
            ),
          },
          {
            title: 'Role',
            cell: (person) => (mayChange(person) ? <RoleSelect person={person} /> : <Badge>{person.role}</Badge>),
          },
          {
            title: 'Groups',
            cell: (person) => (
              <Row>
                {person.groups.length === 0
                  ? '–'
                  : person.groups.map((group) => <Badge key={group.id}>{group.name}</Badge>)}
              </Row>
            ),
          },
          { title: 'Since', cell: (person) => <Time at={person.joined_at} /> },
          {
            title: 'Actions',
            hideTitle: true,
            cell: (person) => (
              <Row>
                <Link href={links.person(person.user_id)}>What can they see?</Link>
                {person.user_id === user.id ? (
                  <Button small kind="danger" onClick={() => setLeaving(person)}>
                    Leave
                  </Button>
                ) : (
                  mayChange(person) && (
                    <Button
                      small
                      kind="danger"
                      onClick={() => setLeaving(person)}
                      aria-label={`Remove ${person.email}`}
                    >
                      Remove
                    </Button>
                  )
                )}
              </Row>
            ),
          },
        ]}
      />
      {leaving && <RemoveDialog person={leaving} onClose={() => setLeaving(null)} />}
    </>
  )
}

function RoleSelect({ person }: { person: PersonRow }) {
  const { supabase, tenant, can } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const change = useMutation({
    mutationFn: async (role: string) =>
      oneChanged(
        dataOf(
          await supabase
            .from('memberships')
            .update({ role })
            .eq('tenant_id', tenant.id)
            .eq('user_id', person.user_id)
            .select('user_id'),
        ),
      ),
    onSuccess: (_nothing, role) => toast.done(`${person.email} is ${role} now`),
    onError: (error) => toast.failed('The role is as it was', error),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['people'] }),
  })
  return (
    <SelectField
      label={`Role of ${person.email}`}
      hideLabel
      value={change.isPending ? change.variables : person.role}
      disabled={change.isPending}
      onChange={(event) => change.mutate(event.currentTarget.value)}
      options={ROLES.filter((role) => can('owner') || role !== 'owner').map((role) => ({ value: role, label: role }))}
    />
  )
}

function RemoveDialog({ person, onClose }: { person: PersonRow; onClose: () => void }) {
  const { supabase, tenant, user } = useBackend()
  const queryClient = useQueryClient()
  const isSelf = person.user_id === user.id
  const remove = async () => {
    oneChanged(
      dataOf(
        await supabase
          .from('memberships')
          .delete()
          .eq('tenant_id', tenant.id)
          .eq('user_id', person.user_id)
          .select('user_id'),
      ),
    )
    await queryClient.invalidateQueries({ queryKey: ['people'] })
  }
  return (
    <ConfirmDialog
      open
      danger
      title={isSelf ? `Leave ${tenant.name}?` : `Remove ${person.email}?`}
      action={isSelf ? 'Leave' : 'Remove'}
      busyLabel={isSelf ? 'Leaving…' : 'Removing…'}
      onClose={onClose}
      onConfirm={remove}
    >
      <p>
        {isSelf ? 'You see' : 'They see'} nothing of {tenant.name} from the next statement on: open windows close,
        agents that work for {isSelf ? 'you' : 'them'} stop. What was uploaded for everybody stays.
      </p>
    </ConfirmDialog>
  )
}
