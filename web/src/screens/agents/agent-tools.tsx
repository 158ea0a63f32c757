import { useMutation } from '@tanstack/react-query'
import { Wrench } from 'lucide-react'
import { useState } from 'react'
import { useBackend } from '../../app/backend.ts'
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
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { type Assignment, type Permissions, useAssignments, useRefreshAgents, useTools } from './data.ts'
import { ToolDialog } from './tool-dialog.tsx'

/** What the agent may use, and whom it has to ask. */
export function AgentTools({ agentId }: { agentId: string }) {
  const { bulkhead, can } = useBackend()
  const toast = useToast()
  const refresh = useRefreshAgents()
  const assignments = useAssignments(agentId)
  const tools = useTools()
  const [open, setOpen] = useState<Assignment | null>(null)
  const give = useMutation({
    mutationFn: async (name: string) => {
      const id = tools.data?.find((each) => each.name === name)?.id
      return (await bulkhead.addAgentTool(agentId, { name, ...(id ? { toolId: id } : {}) })) as Assignment
    },
    onSuccess: (assignment) => setOpen(assignment),
    onError: (error) => toast.failed('The tool was not given', error),
    onSettled: refresh,
  })
  const take = useMutation({
    mutationFn: (id: string) => bulkhead.removeAgentTool(agentId, id),
    onError: (error) => toast.failed('The agent still has the tool', error),
    onSettled: refresh,
  })
  const error = assignments.error ?? tools.error
  if (error)
    return <ErrorNotice error={error} onRetry={() => void Promise.all([assignments.refetch(), tools.refetch()])} />
  if (!assignments.data || !tools.data) return <Waiting what="Reading the tools" />
  const free = tools.data.filter(
    ({ name }) => name !== 'knowledge_search' && !assignments.data.some((each) => each.tool_name === name),
  )
  return (
    <Stack>
      {assignments.data.length === 0 ? (
        <EmptyState title="No tool but search" icon={<Wrench size={40} />}>
          The agent answers from its knowledge bases. With tools it reads tables and files, calls services and writes:
          always as the person it works for, and after asking where you say so.
        </EmptyState>
      ) : (
        <DataTable
          caption="Tools of the agent"
          rows={assignments.data}
          keyOf={({ id }) => id}
          columns={[
            { title: 'Tool', isHead: true, cell: ({ tool_name }) => <code>{tool_name}</code> },
            {
              title: 'Kind',
              cell: ({ tool_type }) => <Badge>{tool_type === 'builtin' ? 'built-in' : 'custom'}</Badge>,
            },
            { title: 'Who may use it', cell: ({ permissions }) => <Rule permissions={permissions} /> },
            {
              title: 'Actions',
              hideTitle: true,
              cell: (assignment) =>
                can('member') && (
                  <Row>
                    <Button small onClick={() => setOpen(assignment)} aria-label={`Configure ${assignment.tool_name}`}>
                      Configure
                    </Button>
                    <Button
                      small
                      kind="danger"
                      aria-label={`Take ${assignment.tool_name} away`}
                      busy={take.isPending && take.variables === assignment.id && 'Taking it away…'}
                      onClick={() => take.mutate(assignment.id)}
                    >
                      Take away
                    </Button>
                  </Row>
                ),
            },
          ]}
        />
      )}
      {can('member') && free.length > 0 && (
        <Card>
          <SelectField
            label="Give a tool"
            hint={can('admin') ? undefined : 'Tools that send data out are given by admins.'}
            value=""
            disabled={give.isPending}
            onChange={(event) => give.mutate(event.currentTarget.value)}
            options={[
              { value: '', label: 'Choose one', disabled: true },
              ...free.map(({ name, description }) => ({ value: name, label: `${name}: ${description}`.slice(0, 120) })),
            ]}
          />
        </Card>
      )}
      {open && <ToolDialog key={open.id} agentId={agentId} assignment={open} onClose={() => setOpen(null)} />}
    </Stack>
  )
}

/** A permission in words. */
function Rule({ permissions }: { permissions: Permissions }) {
  const roles = Object.entries(permissions.roles ?? {})
  const base = permissions.default ?? 'allow'
  const tone = { allow: 'good', ask: 'warn', deny: 'bad' } as const
  return (
    <Row>
      <Badge tone={tone[base]}>{base}</Badge>
      {roles.map(([role, permission]) => (
        <Badge key={role} tone={tone[permission]}>
          {role}: {permission}
        </Badge>
      ))}
    </Row>
  )
}
