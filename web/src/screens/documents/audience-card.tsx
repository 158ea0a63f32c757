import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useId, useState } from 'react'
import { BulkheadError } from '../../../../client/errors.ts'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Button, Card, ErrorNotice, Row, Stack, useToast } from '../../ui/index.ts'
import { type Document, ownerText, type Visibility } from './data.ts'
import { usePeople } from '../../app/people.tsx'
import { Grants } from './grants.tsx'
import { VisibilityText } from './parts.tsx'
import styles from './documents.module.css'

/** Who may see a document; its owner and admins change it. */
export function AudienceCard({ document, isMine }: { document: Document; isMine: boolean }) {
  return (
    <Card title="Who may see it">
      <Stack gap={3}>
        {isMine ? (
          <AudienceForm key={document.visibility} document={document} />
        ) : (
          <VisibilityText visibility={document.visibility} />
        )}
        {document.visibility === 'granted' && <Grants sourceId={document.id} isMine={isMine} />}
      </Stack>
    </Card>
  )
}

function AudienceForm({ document }: { document: Document }) {
  const { supabase, tenant, user } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const people = usePeople()
  const name = useId()
  const [chosen, setChosen] = useState(document.visibility)
  const isOwner = document.owner_id === user.id
  const owner = isOwner ? 'me' : ownerText(document.owner_id, people.data, user.id)
  const save = useMutation({
    mutationFn: async () => {
      const answer = await supabase
        .schema('ai')
        .from('sources')
        .update({ visibility: chosen })
        .eq('id', document.id)
        .select('id')
      if (answer.error?.code === '42501') throw outOfSight()
      if (answer.error?.code === '23505') throw sameBytes()
      if (dataOf(answer).length === 0) throw outOfSight()
    },
    onSuccess: () => toast.done('Changed', 'It holds from the next search on.'),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['documents', 'one', document.id] }),
  })
  const choices: { value: Visibility; label: string; hint: string; disabled?: boolean }[] = [
    { value: 'tenant', label: `Everyone in ${tenant.name}`, hint: 'All members, whoever joins later included.' },
    {
      value: 'granted',
      label: 'People and groups by name',
      hint: `${isOwner ? 'You' : 'The owner'}, and whom the list names.`,
    },
    {
      value: 'private',
      label: isOwner ? 'Only me' : `Only ${owner}`,
      hint: isOwner ? 'Nobody else, not even admins.' : 'Only the owner can hide it from everybody else.',
      disabled: !isOwner,
    },
  ]
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate()
      }}
    >
      <fieldset className={styles['fieldset']}>
        <legend className="visually-hidden">Who may see it</legend>
        <Stack gap={2}>
          {choices.map(({ value, label, hint, disabled }) => (
            <label key={value} className={styles['choice']}>
              <input
                type="radio"
                name={name}
                value={value}
                checked={chosen === value}
                disabled={disabled ?? false}
                onChange={() => setChosen(value)}
              />
              <span>
                {label}
                <span className={styles['hint']}>{hint}</span>
              </span>
            </label>
          ))}
          {save.error && <ErrorNotice error={save.error} />}
          {chosen !== document.visibility && (
            <Row>
              <Button type="submit" kind="primary" small busy={save.isPending && 'Saving…'}>
                Save
              </Button>
              <Button
                small
                onClick={() => {
                  save.reset()
                  setChosen(document.visibility)
                }}
              >
                Leave as it is
              </Button>
            </Row>
          )}
        </Stack>
      </fieldset>
    </form>
  )
}

const outOfSight = () =>
  new BulkheadError('You would lose sight of the document yourself, so it was left as it is.', {
    code: 'forbidden',
    status: 403,
    details: { hint: 'Its owner can do this, or an admin whom the list of people and groups names.' },
  })

const sameBytes = () =>
  new BulkheadError('A document of the same bytes is there already for these people.', {
    code: 'duplicate_source',
    status: 409,
    details: { hint: 'Use that one, or delete one of the two.' },
  })
