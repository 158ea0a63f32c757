import { useMutation } from '@tanstack/react-query'
import { useId, type FormEvent } from 'react'
import { useLocation } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { Button, Dialog, ErrorNotice, Stack, TextAreaField, TextField } from '../../ui/index.ts'
import { useRefreshAgents } from './data.ts'

export function CreateAgent({ onClose }: { onClose: () => void }) {
  const { bulkhead } = useBackend()
  const [, navigate] = useLocation()
  const refresh = useRefreshAgents()
  const form = useId()
  const create = useMutation({
    mutationFn: (agent: { name: string; system_prompt?: string }) => bulkhead.createAgent(agent),
    onSuccess: async ({ id }) => {
      await refresh()
      navigate(`/${id}`)
    },
  })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const values = new FormData(event.currentTarget)
    const prompt = String(values.get('prompt')).trim()
    create.mutate({ name: String(values.get('name')).trim(), ...(prompt ? { system_prompt: prompt } : {}) })
  }
  return (
    <Dialog
      open
      title="Create an agent"
      description="Tools, knowledge bases and everything else can be given afterwards."
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} busy={create.isPending && 'Creating…'}>
            Create
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={submit}>
        <Stack gap={3}>
          <TextField label="Name" name="name" required maxLength={200} />
          <TextAreaField
            label="Instructions"
            name="prompt"
            rows={5}
            hint="What it is told before every conversation. Optional."
          />
          {create.error && <ErrorNotice error={create.error} title="The agent was not created" />}
        </Stack>
      </form>
    </Dialog>
  )
}
