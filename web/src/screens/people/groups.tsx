import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { UsersRound, X } from 'lucide-react'
import { useRef, useState, type FormEvent } from 'react'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { usePeople } from '../../app/people.tsx'
import {
  Badge,
  Button,
  Card,
  ConfirmDialog,
  EmptyState,
  ErrorNotice,
  IconButton,
  Row,
  SelectField,
  Stack,
  TextField,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { oneChanged } from './one-changed.ts'

type Group = { id: string; name: string }

/** Groups of people, to whom documents are granted and approvals given as to one. */
export function Groups() {
  const { supabase, tenant, can } = useBackend()
  const queryClient = useQueryClient()
  const form = useRef<HTMLFormElement>(null)
  const [doomed, setDoomed] = useState<Group | null>(null)
  const groups = useQuery({
    queryKey: ['people', 'groups'],
    queryFn: async ({ signal }): Promise<Group[]> =>
      dataOf(
        await supabase
          .from('groups')
          .select('id, name')
          .eq('tenant_id', tenant.id)
          .order('name')
          .limit(200)
          .abortSignal(signal),
      ),
  })
  const refresh = () => queryClient.invalidateQueries({ queryKey: ['people'] })
  const create = useMutation({
    mutationFn: async (name: string) =>
      dataOf(await supabase.from('groups').insert({ name, tenant_id: tenant.id }).select('id')),
    onSuccess: () => form.current?.reset(),
    onSettled: refresh,
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    create.mutate(String(new FormData(event.currentTarget).get('name')).trim())
  }
  return (
    <Stack>
      {can('admin') && (
        <Card title="Form a group">
          <form ref={form} onSubmit={submit}>
            <Stack gap={3}>
              <TextField label="Name" name="name" required maxLength={200} />
              {create.error && <ErrorNotice error={create.error} />}
              <Row>
                <Button kind="primary" type="submit" busy={create.isPending && 'Forming…'}>
                  Form the group
                </Button>
              </Row>
            </Stack>
          </form>
        </Card>
      )}
      {groups.error && <ErrorNotice error={groups.error} onRetry={() => void groups.refetch()} />}
      {groups.isPending && <Waiting what="Reading the groups" />}
      {groups.data?.length === 0 && (
        <EmptyState title="There are no groups" icon={<UsersRound size={40} />}>
          Grant a document to a group and everybody in it sees it, as long as they are in it.{' '}
          {!can('admin') && 'Admins form groups.'}
        </EmptyState>
      )}
      {groups.data?.map((group) => (
        <GroupCard key={group.id} group={group} onDelete={() => setDoomed(group)} />
      ))}
      {doomed && (
        <ConfirmDialog
          open
          danger
          title={`Delete the group ${doomed.name}?`}
          action="Delete"
          busyLabel="Deleting…"
          onClose={() => setDoomed(null)}
          onConfirm={async () => {
            oneChanged(dataOf(await supabase.from('groups').delete().eq('id', doomed.id).select('id')))
            await refresh()
          }}
        >
          <p>
            What was granted to the group is no longer granted; approvals that only it may decide expire. The people
            stay.
          </p>
        </ConfirmDialog>
      )}
    </Stack>
  )
}

function GroupCard({ group, onDelete }: { group: Group; onDelete: () => void }) {
  const { supabase, tenant, can } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const people = usePeople()
  const members = people.data?.filter((person) => person.groups.some(({ id }) => id === group.id)) ?? []
  const others = people.data?.filter((person) => !members.includes(person)) ?? []
  const change = useMutation({
    mutationFn: async ({ userId, isIn }: { userId: string; isIn: boolean }) => {
      const row = { tenant_id: tenant.id, group_id: group.id, user_id: userId }
      const table = supabase.from('group_members')
      oneChanged(
        dataOf(isIn ? await table.insert(row).select('user_id') : await table.delete().match(row).select('user_id')),
      )
    },
    onError: (error) => toast.failed(`${group.name} is as it was`, error),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['people'] }),
  })
  return (
    <Card
      title={group.name}
      actions={
        can('admin') && (
          <Button small kind="danger" onClick={onDelete} aria-label={`Delete the group ${group.name}`}>
            Delete
          </Button>
        )
      }
    >
      <Stack gap={3}>
        {people.isPending && <Waiting small what="Reading who is in it" />}
        <Row>
          {people.data && members.length === 0 && 'Nobody is in it.'}
          {members.map((person) => (
            <Badge key={person.user_id}>
              {person.email}
              {can('admin') && (
                <IconButton
                  label={`Take ${person.email} out of ${group.name}`}
                  icon={<X size={14} />}
                  disabled={change.isPending}
                  onClick={() => change.mutate({ userId: person.user_id, isIn: false })}
                />
              )}
            </Badge>
          ))}
        </Row>
        {can('admin') && others.length > 0 && (
          <SelectField
            label={`Add somebody to ${group.name}`}
            value=""
            disabled={change.isPending}
            onChange={(event) => change.mutate({ userId: event.currentTarget.value, isIn: true })}
            options={[
              { value: '', label: 'Choose a person', disabled: true },
              ...others.map((person) => ({ value: person.user_id, label: person.email })),
            ]}
          />
        )}
      </Stack>
    </Card>
  )
}
