import { Bot } from 'lucide-react'
import { useDeferredValue, useState } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import {
  Badge,
  Button,
  DataTable,
  EmptyState,
  ErrorNotice,
  PageHeader,
  Pager,
  Stack,
  TextField,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { CreateAgent } from './create-agent.tsx'
import { PAGE, useAgentList } from './data.ts'

export function AgentList() {
  const { can } = useBackend()
  const [words, setWords] = useState('')
  const wanted = useDeferredValue(words.trim())
  const [offset, setOffset] = useState(0)
  const [isCreating, setIsCreating] = useState(false)
  const agents = useAgentList(offset, wanted)
  return (
    <>
      <PageHeader
        title="Agents"
        description="Each tool of an agent acts with exactly the rights of the person it works for, at that moment."
        actions={
          can('member') && (
            <Button kind="primary" onClick={() => setIsCreating(true)}>
              Create an agent
            </Button>
          )
        }
      />
      <Stack>
        <TextField
          label="Find by name"
          type="search"
          value={words}
          onChange={(event) => {
            setWords(event.currentTarget.value)
            setOffset(0)
          }}
        />
        {agents.error && <ErrorNotice error={agents.error} onRetry={() => void agents.refetch()} />}
        {agents.isPending && <Waiting what="Reading the agents" />}
        {agents.data?.agents.length === 0 && (
          <EmptyState
            title={wanted ? 'No agent has that in its name' : 'There is no agent yet'}
            icon={<Bot size={40} />}
          >
            An agent has instructions, a model, knowledge bases and tools. It answers in the chat, through the API and
            by schedule.
          </EmptyState>
        )}
        {agents.data && agents.data.agents.length > 0 && (
          <DataTable
            caption="Agents"
            rows={agents.data.agents}
            keyOf={({ id }) => id}
            columns={[
              { title: 'Agent', isHead: true, cell: (agent) => <Link href={`/${agent.id}`}>{agent.name}</Link> },
              { title: 'Model', cell: ({ model }) => <code>{model ?? 'default'}</code> },
              {
                title: 'State',
                cell: ({ published }) =>
                  published ? <Badge tone="good">published</Badge> : <Badge tone="warn">unpublished</Badge>,
              },
              { title: 'Runs', align: 'end', cell: ({ total_runs }) => total_runs },
              { title: 'Last run', cell: ({ last_run_at }) => <Time at={last_run_at} /> },
            ]}
          />
        )}
        {agents.data && (
          <Pager
            offset={offset}
            pageSize={PAGE}
            shown={agents.data.agents.length}
            total={agents.data.total}
            onOffset={setOffset}
          />
        )}
      </Stack>
      {isCreating && <CreateAgent onClose={() => setIsCreating(false)} />}
    </>
  )
}
