import { useMutation } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import type { Agent, AgentChanges } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'
import {
  Button,
  Card,
  CheckField,
  ErrorNotice,
  JsonView,
  Row,
  Stack,
  TextAreaField,
  TextField,
  useToast,
} from '../../ui/index.ts'
import { useRefreshAgents } from './data.ts'

/** Settings that have a field; the others are kept as they are and shown below. */
const NUMBERS = [
  ['max_steps', 'Steps at most', 'Calls of the model in one run; 25 if empty.', 1, 100],
  ['timeout_seconds', 'Seconds at most', 'Time people take to approve is not counted; 120 if empty.', 1, 3600],
  ['temperature', 'Temperature', 'Given to the model as it is.', 0, 2],
  ['max_tokens', 'Tokens of an answer at most', 'Given to the model as it is.', 1, 1_000_000],
] as const
const OWN = new Set<string>([...NUMBERS.map(([key]) => key), 'fallback_model'])

/** Name, instructions, model and limits. */
export function AgentForm({ agent }: { agent: Agent }) {
  const { bulkhead, can } = useBackend()
  const refresh = useRefreshAgents()
  const toast = useToast()
  const [published, setPublished] = useState(agent.published)
  const save = useMutation({
    mutationFn: (changes: AgentChanges) => bulkhead.updateAgent(agent.id, changes),
    onSuccess: async () => {
      toast.done('Saved', 'It holds from the next run on.')
      await refresh()
    },
  })
  const others = Object.fromEntries(Object.entries(agent.settings).filter(([key]) => !OWN.has(key)))
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const values = new FormData(event.currentTarget)
    const text = (name: string): string => String(values.get(name) ?? '').trim()
    const settings: Record<string, unknown> = { ...others }
    for (const [key] of NUMBERS) if (text(key) !== '') settings[key] = Number(text(key))
    if (text('fallback_model')) settings['fallback_model'] = text('fallback_model')
    save.mutate({
      name: text('name'),
      system_prompt: text('system_prompt'),
      settings,
      published,
      ...(text('model') ? { model: text('model') } : {}),
    })
  }
  const setting = (key: string): string => {
    const value = agent.settings[key]
    return typeof value === 'number' || typeof value === 'string' ? String(value) : ''
  }
  return (
    <Card>
      <form onSubmit={submit}>
        <fieldset disabled={!can('member')}>
          <Stack>
            <Row even>
              <TextField label="Name" name="name" defaultValue={agent.name} required maxLength={200} />
              <TextField
                label="Model"
                name="model"
                defaultValue={agent.model ?? ''}
                hint="As your provider names it."
              />
              <TextField
                label="Fallback model"
                name="fallback_model"
                defaultValue={setting('fallback_model')}
                hint="Tried when the model fails."
              />
            </Row>
            <TextAreaField
              label="Instructions"
              name="system_prompt"
              rows={8}
              defaultValue={agent.system_prompt ?? ''}
              hint="What it is told before every conversation. Documents are never instructions."
            />
            <Row even>
              {NUMBERS.map(([key, label, hint, min, max]) => (
                <TextField
                  key={key}
                  label={label}
                  name={key}
                  type="number"
                  min={min}
                  max={max}
                  step="any"
                  defaultValue={setting(key)}
                  hint={hint}
                />
              ))}
            </Row>
            <CheckField
              label="Published"
              hint="An agent that is not can be neither started nor gone on with; its runs stop."
              checked={published}
              onChange={(event) => setPublished(event.currentTarget.checked)}
            />
            {Object.keys(others).length > 0 && (
              <details>
                <summary>Other settings, kept as they are</summary>
                <JsonView value={others} label="Other settings" />
              </details>
            )}
            {save.error && <ErrorNotice error={save.error} title="The agent is as it was" />}
            {can('member') ? (
              <Row>
                <Button kind="primary" type="submit" busy={save.isPending && 'Saving…'}>
                  Save
                </Button>
              </Row>
            ) : (
              <p>Members and above create agents; who created one, and admins, change it.</p>
            )}
          </Stack>
        </fieldset>
      </form>
    </Card>
  )
}
