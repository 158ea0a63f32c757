import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Trash2, User, Users } from 'lucide-react'
import { useState } from 'react'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Button, ErrorNotice, Field, IconButton, useToast, Waiting } from '../../ui/index.ts'
import { usePeople } from '../../app/people.tsx'
import { useGroups } from './data.ts'
import styles from './documents.module.css'

/** The people and groups a document is granted to, and the way to add and remove them. */
export function Grants({ sourceId, isMine }: { sourceId: string; isMine: boolean }) {
  const { supabase } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const people = usePeople()
  const groups = useGroups(true)
  const key = ['documents', 'grants', sourceId]
  const grants = useQuery({
    queryKey: key,
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase
          .schema('ai')
          .from('source_grants')
          .select('id, user_id, group_id')
          .eq('source_id', sourceId)
          .order('created_at')
          .abortSignal(signal),
      ),
  })
  const remove = useMutation({
    mutationFn: async (id: string) =>
      dataOf(await supabase.schema('ai').from('source_grants').delete().eq('id', id).select('id')),
    onError: (error) => toast.failed('The grant was not taken back', error),
    onSettled: () => queryClient.invalidateQueries({ queryKey: key }),
  })

  if (grants.error) return <ErrorNotice error={grants.error} onRetry={() => void grants.refetch()} />
  if (!grants.data) return <Waiting small what="Asking whom it is granted to" />
  const nameOf = (grant: { user_id: string | null; group_id: string | null }) =>
    grant.group_id
      ? (groups.data?.find((group) => group.id === grant.group_id)?.name ?? '…')
      : (people.data?.find((person) => person.user_id === grant.user_id)?.email ?? '…')
  const isNamed = (id: string) => grants.data.some((grant) => grant.user_id === id || grant.group_id === id)
  return (
    <>
      {grants.data.length === 0 && <p className={styles['soft']}>Nobody is named yet: only the owner sees it.</p>}
      <ul className={styles['grants']}>
        {grants.data.map((grant) => (
          <li key={grant.id}>
            <span className={styles['with-icon']}>
              {grant.group_id ? <Users size={15} aria-label="Group" /> : <User size={15} aria-label="Person" />}
              <span className={styles['name']}>{nameOf(grant)}</span>
            </span>
            {isMine && (
              <IconButton
                label={`Take the grant of ${nameOf(grant)} back`}
                icon={<Trash2 size={15} />}
                disabled={remove.isPending}
                onClick={() => remove.mutate(grant.id)}
              />
            )}
          </li>
        ))}
      </ul>
      {isMine && (
        <AddGrant
          sourceId={sourceId}
          people={(people.data ?? []).filter((person) => !isNamed(person.user_id))}
          groups={(groups.data ?? []).filter((group) => !isNamed(group.id))}
        />
      )}
    </>
  )
}

function AddGrant(props: {
  sourceId: string
  people: { user_id: string; email: string }[]
  groups: { id: string; name: string }[]
}) {
  const { sourceId, people, groups } = props
  const { supabase, tenant } = useBackend()
  const queryClient = useQueryClient()
  const [chosen, setChosen] = useState('')
  const add = useMutation({
    mutationFn: async () => {
      const [kind, id = ''] = chosen.split(':')
      const grantee = kind === 'group' ? { group_id: id } : { user_id: id }
      // No answer is asked for: who grants need not be able to read what they granted.
      const answer = await supabase
        .schema('ai')
        .from('source_grants')
        .insert({ tenant_id: tenant.id, source_id: sourceId, ...grantee })
      if (answer.error) dataOf(answer)
    },
    onSuccess: () => setChosen(''),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['documents', 'grants', sourceId] }),
  })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        add.mutate()
      }}
    >
      <div className={styles['add']}>
        <Field label="Grant it to a person or group">
          {(control) => (
            <select
              {...control}
              className={styles['select']}
              value={chosen}
              onChange={(event) => setChosen(event.currentTarget.value)}
            >
              <option value="">Choose…</option>
              <optgroup label="People">
                {people.map((person) => (
                  <option key={person.user_id} value={`user:${person.user_id}`}>
                    {person.email}
                  </option>
                ))}
              </optgroup>
              {groups.length > 0 && (
                <optgroup label="Groups">
                  {groups.map((group) => (
                    <option key={group.id} value={`group:${group.id}`}>
                      {group.name}
                    </option>
                  ))}
                </optgroup>
              )}
            </select>
          )}
        </Field>
        <Button type="submit" disabled={chosen === ''} busy={add.isPending && 'Granting…'}>
          Grant
        </Button>
      </div>
      {add.error && <ErrorNotice error={add.error} />}
    </form>
  )
}
