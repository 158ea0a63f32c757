import { Activity as Icon } from 'lucide-react'
import { useState } from 'react'
import { Link } from 'wouter'
import { AgentName } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { Person } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  DataTable,
  EmptyState,
  ErrorNotice,
  PageHeader,
  Pager,
  SelectField,
  Stack,
  StatusBadge,
  Time,
  Waiting,
  type Column,
} from '../../ui/index.ts'
import { between, duration } from './activity.ts'
import { isActiveStatus, PAGE, useRuns, type RunRow, type StatusFilter } from './data.ts'
import styles from './runs.module.css'

const FILTERS: { value: StatusFilter; label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'active', label: 'Under way or waiting' },
  { value: 'completed', label: 'Completed' },
  { value: 'failed', label: 'Failed' },
  { value: 'cancelled', label: 'Cancelled' },
]

type Row = RunRow & { steps: number }

/** What was asked, as far as it is kept with the run. */
export const questionOf = ({ input_messages }: Pick<RunRow, 'input_messages'>): string => {
  const messages = Array.isArray(input_messages) ? (input_messages as { role?: string; content?: unknown }[]) : []
  const last = messages.findLast(({ role }) => role === 'user')
  return typeof last?.content === 'string' ? last.content : ''
}

const COLUMNS: Column<Row>[] = [
  {
    title: 'Question',
    isHead: true,
    cell: (run) => (
      <Link href={`/${run.run_id}`} className={styles['question'] ?? ''}>
        {questionOf(run).slice(0, 200) || run.run_id}
      </Link>
    ),
  },
  { title: 'Status', cell: (run) => <RunStatus run={run} /> },
  { title: 'Agent', cell: (run) => <AgentName id={run.agent_id} /> },
  { title: 'Started', cell: (run) => <Time at={run.started_at ?? run.created_at} /> },
  {
    title: 'Duration',
    align: 'end',
    cell: (run) => duration(between(run.started_at, run.completed_at)),
  },
  { title: 'Steps', align: 'end', cell: (run) => run.steps },
  { title: 'Calls', align: 'end', cell: (run) => run.tool_call_count },
  { title: 'Tokens', align: 'end', cell: (run) => run.total_tokens?.toLocaleString('en') ?? '–' },
]

const PERSON: Column<Row> = { title: 'For', cell: (run) => <Person id={run.user_id} /> }

export function RunStatus({ run }: { run: Pick<RunRow, 'status' | 'wait_reason'> }) {
  return (
    <span className={styles['status']}>
      <StatusBadge status={run.status} />
      {run.wait_reason && (
        <small>{run.wait_reason === 'approval' ? 'for an approval' : 'for a word about a call'}</small>
      )}
    </span>
  )
}

/** The runs one may read, the latest first. */
export function RunList() {
  const { user } = useBackend()
  const [filter, setFilter] = useState<StatusFilter>('all')
  const [offset, setOffset] = useState(0)
  const runs = useRuns(filter, offset)
  const rows = runs.data?.rows ?? []
  // Who reads none but their own is not told on each row that it is theirs.
  const columns = rows.some((run) => run.user_id !== user.id) ? COLUMNS.toSpliced(2, 0, PERSON) : COLUMNS
  return (
    <>
      <PageHeader
        title="Runs"
        description="Each answer is a run: what the agent did for you, step by step. Runs are seen by the person they were for."
        actions={
          <SelectField
            label="Status"
            value={filter}
            onChange={(event) => {
              setFilter(event.currentTarget.value as StatusFilter)
              setOffset(0)
            }}
            options={FILTERS}
          />
        }
      />
      {runs.error && <ErrorNotice error={runs.error} onRetry={() => void runs.refetch()} />}
      {!runs.data && !runs.error && <Waiting what="Reading the runs" />}
      {runs.data && rows.length === 0 && (
        <EmptyState
          title={filter === 'all' ? 'No run yet' : 'No run of this status'}
          icon={<Icon size={36} aria-hidden />}
          actions={filter === 'all' && <Link href={links.chat()}>Ask something</Link>}
        >
          {filter === 'all'
            ? 'A run begins with each question in a chat, each scheduled message and each call of the agent API.'
            : 'Choose another status to see the others.'}
        </EmptyState>
      )}
      {rows.length > 0 && (
        <Stack gap={3}>
          <DataTable caption="Runs" columns={columns} rows={rows} keyOf={(run) => run.id} />
          <Pager
            offset={offset}
            pageSize={PAGE}
            shown={rows.length}
            total={runs.data?.total ?? null}
            onOffset={setOffset}
          />
          <p className="visually-hidden" role="status">
            {rows.filter(({ status }) => isActiveStatus(status)).length} under way
          </p>
        </Stack>
      )}
    </>
  )
}
