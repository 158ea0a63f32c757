import { useMutation } from '@tanstack/react-query'
import { useId, useState, type FormEvent } from 'react'
import { useBackend } from '../../app/backend.ts'
import {
  Button,
  CheckField,
  Dialog,
  ErrorNotice,
  Notice,
  Row,
  SelectField,
  Stack,
  TextAreaField,
  TextField,
  useToast,
} from '../../ui/index.ts'
import { type Assignment, type Permission, type Permissions, useRefreshAgents } from './data.ts'

const ROLES = ['viewer', 'member', 'admin', 'owner', 'backend'] as const
const DAY_SECONDS = 86_400

/** How a tool is set for one agent, and who may use it: permissions are for admins. */
export function ToolDialog({
  agentId,
  assignment,
  onClose,
}: {
  agentId: string
  assignment: Assignment
  onClose: () => void
}) {
  const { bulkhead, can } = useBackend()
  const refresh = useRefreshAgents()
  const toast = useToast()
  const form = useId()
  const [config, setConfig] = useState(() => JSON.stringify(assignment.config_override, null, 2))
  const [rule, setRule] = useState<Permissions>(assignment.permissions)
  const configValue = parseObject(config)
  const mayAsk = [rule.default, ...Object.values(rule.roles ?? {})].includes('ask')
  const save = useMutation({
    mutationFn: () =>
      bulkhead.updateAgentTool(agentId, assignment.id, {
        configOverride: configValue ?? {},
        ...(can('admin') ? { permissions: cleaned(rule, mayAsk) } : {}),
      }),
    onSuccess: async () => {
      toast.done('Saved', 'It holds from the next call on.')
      await refresh()
      onClose()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    if (configValue) save.mutate()
  }
  const setRole = (role: (typeof ROLES)[number], permission: string) => {
    const { [role]: _old, ...roles } = rule.roles ?? {}
    setRule({ ...rule, roles: permission ? { ...roles, [role]: permission as Permission } : roles })
  }
  const approval = rule.approval ?? {}
  const setApproval = (change: NonNullable<Permissions['approval']>) =>
    setRule({ ...rule, approval: { ...approval, ...change } })
  return (
    <Dialog
      open
      wide
      title={assignment.tool_name}
      description="Arguments that are settled here are not asked of the model."
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="primary" type="submit" form={form} busy={save.isPending && 'Saving…'} disabled={!configValue}>
            Save
          </Button>
        </>
      }
    >
      <form id={form} onSubmit={submit}>
        <Stack>
          <TextAreaField
            label="Configuration (JSON)"
            rows={6}
            spellCheck={false}
            value={config}
            onChange={(event) => setConfig(event.currentTarget.value)}
            error={configValue ? null : 'This is not a JSON object.'}
            hint={
              assignment.tool_name.startsWith('database_')
                ? 'The tables it may use: {"schemas": {"public": ["memories"]}}.'
                : 'An object; {} when there is nothing to settle.'
            }
          />
          {can('admin') ? (
            <>
              <h3>Who may use it</h3>
              <Row even>
                <SelectField
                  label="Everybody"
                  value={rule.default ?? 'allow'}
                  onChange={(event) => setRule({ ...rule, default: event.currentTarget.value as Permission })}
                  options={OPTIONS.slice(1)}
                />
                {ROLES.map((role) => (
                  <SelectField
                    key={role}
                    label={`Only ${role}`}
                    value={rule.roles?.[role] ?? ''}
                    onChange={(event) => setRole(role, event.currentTarget.value)}
                    options={OPTIONS}
                  />
                ))}
              </Row>
              {mayAsk && (
                <>
                  <h3>Whom it asks</h3>
                  <Row even>
                    <SelectField
                      label="Least role"
                      value={approval.role ?? ''}
                      onChange={(event) => setApproval({ role: event.currentTarget.value || null })}
                      options={[
                        { value: '', label: 'the person it is for, or an admin' },
                        ...ROLES.slice(0, 4).map((role) => ({ value: role, label: role })),
                      ]}
                    />
                    <TextField
                      label="People who have to approve"
                      type="number"
                      min={1}
                      max={20}
                      value={approval.quorum ?? 1}
                      onChange={(event) => setApproval({ quorum: Number(event.currentTarget.value) })}
                    />
                    <TextField
                      label="Days it waits"
                      type="number"
                      min={1}
                      max={40}
                      value={Math.max(1, Math.round((approval.expires_in_seconds ?? 7 * DAY_SECONDS) / DAY_SECONDS))}
                      onChange={(event) =>
                        setApproval({ expires_in_seconds: Number(event.currentTarget.value) * DAY_SECONDS })
                      }
                    />
                  </Row>
                  <TextField
                    label="What they are told"
                    value={approval.message ?? ''}
                    maxLength={500}
                    onChange={(event) => setApproval({ message: event.currentTarget.value || null })}
                  />
                  <CheckField
                    label="Four eyes"
                    hint="The person it is for does not decide."
                    checked={approval.four_eyes ?? false}
                    onChange={(event) => setApproval({ four_eyes: event.currentTarget.checked })}
                  />
                </>
              )}
            </>
          ) : (
            <Notice>Admins say who may use a tool and whom it asks.</Notice>
          )}
          {save.error && <ErrorNotice error={save.error} title="The tool is set as before" />}
        </Stack>
      </form>
    </Dialog>
  )
}

const OPTIONS = [
  { value: '', label: 'as everybody' },
  { value: 'allow', label: 'allow' },
  { value: 'ask', label: 'ask first' },
  { value: 'deny', label: 'deny' },
]

/** The permissions as the API takes them: nothing about asking where nobody is asked. */
const cleaned = ({ approval, ...rule }: Permissions, mayAsk: boolean): Permissions =>
  mayAsk && approval ? { ...rule, approval } : rule

const parseObject = (text: string): Record<string, unknown> | null => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null
  } catch {
    return null
  }
}
