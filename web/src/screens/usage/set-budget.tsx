import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useId, useState, type FormEvent } from 'react'
import { useAgents } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { usePeople } from '../../app/people.tsx'
import { Button, Dialog, ErrorNotice, SelectField, Stack, TextField, useToast } from '../../ui/index.ts'

/** Sets a budget, or changes the one of the same scope, subject and period. */
export function SetBudget({ onClose }: { onClose: () => void }) {
  const { supabase } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const people = usePeople()
  const agents = useAgents()
  const form = useId()
  const [scope, setScope] = useState('tenant')
  const set = useMutation({
    mutationFn: async (budget: { period: string; max_tokens: number; subject_id?: string }) =>
      dataOf(await supabase.schema('ai').rpc('set_budget', { scope, ...budget })),
    onSuccess: () => {
      toast.done('The budget holds from the next call of a model on')
      onClose()
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['usage'] }),
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const values = new FormData(event.currentTarget)
    const subject = String(values.get('subject') ?? '')
    set.mutate({
      period: scope === 'run' ? 'total' : String(values.get('period')),
      max_tokens: Number(values.get('tokens')),
      ...(subject ? { subject_id: subject } : {}),
    })
  }
  const subjects =
    scope === 'user'
      ? (people.data ?? []).map(({ user_id, email }) => ({ value: user_id, label: email }))
      : (agents.data ?? []).map(({ id, name }) => ({ value: id, label: name }))
  return (
    <Dialog
      open
      title="Set a budget"
      description="All budgets that apply hold together. Near its end a budget shortens answers; at its end runs stop with a reason."
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} busy={set.isPending && 'Setting…'}>
            Set
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={submit}>
        <Stack gap={3}>
          <SelectField
            label="For"
            value={scope}
            onChange={(event) => setScope(event.currentTarget.value)}
            options={[
              { value: 'tenant', label: 'the tenant' },
              { value: 'user', label: 'a person, or each' },
              { value: 'agent', label: 'an agent, or each' },
              { value: 'run', label: 'each run' },
            ]}
          />
          {(scope === 'user' || scope === 'agent') && (
            <SelectField
              key={scope}
              label={scope === 'user' ? 'Person' : 'Agent'}
              name="subject"
              options={[{ value: '', label: 'each without one of their own' }, ...subjects]}
            />
          )}
          {scope !== 'run' && (
            <SelectField
              label="Each"
              name="period"
              defaultValue="month"
              options={[
                { value: 'day', label: 'day (UTC)' },
                { value: 'month', label: 'month (UTC)' },
                { value: 'total', label: 'ever: it does not renew' },
              ]}
            />
          )}
          <TextField label="Tokens" name="tokens" type="number" min={1} step={1} required inputMode="numeric" />
          {set.error && <ErrorNotice error={set.error} title="The budget was not set" />}
        </Stack>
      </form>
    </Dialog>
  )
}
