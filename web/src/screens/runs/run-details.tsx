import { useMutation, useQueryClient } from '@tanstack/react-query'
import { ArrowLeft, Square } from 'lucide-react'
import { Link } from 'wouter'
import type { Citation } from '../../../../client/index.ts'
import { AgentName } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { tellError } from '../../lib/errors.ts'
import { Person } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import { Markdown } from '../../lib/markdown/markdown.tsx'
import {
  Button,
  Card,
  Copyable,
  EmptyState,
  ErrorNotice,
  Facts,
  Notice,
  PageHeader,
  Stack,
  Time,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { AwaitedApprovals } from '../chat/awaited-approvals.tsx'
import { Sources, useCitations } from '../chat/sources.tsx'
import { between, duration } from './activity.ts'
import { isActiveStatus, useCitationsOf, useRun, useSessionOf, type RunDetail } from './data.ts'
import { EventLog } from './event-log.tsx'
import { runFailure } from './failure.ts'
import { questionOf, RunStatus } from './run-list.tsx'
import styles from './runs.module.css'
import { Timeline } from './timeline.tsx'
import { useRunEvents } from './use-run-events.ts'

const NO_CITATIONS: readonly Citation[] = []

/** One run: what was asked, what was done, what it waits for, what it cost. Live while it goes on. */
export function RunDetails({ id }: { id: string }) {
  const run = useRun(id)
  return (
    <>
      <p className={styles['back']}>
        <Link href="/">
          <ArrowLeft size={15} aria-hidden /> All runs
        </Link>
      </p>
      {run.error && <ErrorNotice error={run.error} onRetry={() => void run.refetch()} />}
      {run.data === undefined && !run.error && <Waiting what="Reading the run" />}
      {run.data === null && (
        <EmptyState title="This run does not exist">
          It is gone, or it was for somebody else: only the person of a run reads it. What everybody’s runs have used is
          under Usage.
        </EmptyState>
      )}
      {run.data && <Found run={run.data} />}
    </>
  )
}

function Found({ run }: { run: RunDetail }) {
  const active = isActiveStatus(run.status)
  const live = useRunEvents(run)
  const question = questionOf(run)
  const content = run.content ?? live.content
  const citations = useCitationsOf(run.id, !active)
  const marks = useCitations(citations.data ?? NO_CITATIONS)
  return (
    <>
      <PageHeader
        title={question ? question.slice(0, 140) : 'Run'}
        description={
          <span className={styles['status']} aria-live="polite">
            <RunStatus run={run} />
            <Copyable value={run.run_id} />
          </span>
        }
        actions={active && <Cancel run={run} />}
      />
      <Stack gap={4}>
        {run.status === 'failed' && (
          <ErrorNotice error={runFailure(run.error, run.error_code)} title="The run failed" />
        )}
        {run.rolled_back && <Notice>Another run took its place: it is no part of the conversation any more.</Notice>}
        {run.wait_reason === 'approval' && <AwaitedApprovals run={run} />}
        <Card>
          <RunFacts run={run} />
        </Card>
        <Timeline run={run} live={live} isActive={active} />
        {content && (
          <Card title="Answer">
            <Stack gap={3}>
              <Markdown text={content} citations={marks} />
              <Sources citations={citations.data ?? NO_CITATIONS} />
            </Stack>
          </Card>
        )}
        {question.length > 140 && (
          <Card title="Question">
            <p className={styles['whole']}>{question}</p>
          </Card>
        )}
        <EventLog events={live.events} isLoaded={live.isLoaded} lastSeq={run.last_seq} />
      </Stack>
    </>
  )
}

function RunFacts({ run }: { run: RunDetail }) {
  const { user } = useBackend()
  const session = useSessionOf(run.chat_message_id)
  const tokens = (count: number | null) => count?.toLocaleString('en') ?? '–'
  return (
    <Facts
      facts={[
        ['Agent', <AgentName key="agent" id={run.agent_id} />],
        ...(run.user_id === user.id ? [] : [['For', <Person key="for" id={run.user_id} />] as const]),
        ['Begun', <Time key="begun" at={run.started_at ?? run.created_at} exact />],
        ['Duration', duration(between(run.started_at, run.completed_at))],
        ['Queued for', duration(between(run.created_at, run.started_at))],
        ['Model', run.model ? `${run.model} (${run.provider})` : '–'],
        [
          'Tokens',
          run.total_tokens === null
            ? '–'
            : `${tokens(run.total_tokens)} (${tokens(run.prompt_tokens)} in, ${tokens(run.completion_tokens)} out)`,
        ],
        [
          'Tool calls',
          `${run.tool_call_count}${run.tool_call_error_count ? `, ${run.tool_call_error_count} failed` : ''}`,
        ],
        ...(run.attempts > 1 ? [['Taken up', `${run.attempts} times since it last got further`] as const] : []),
        ...(run.invalid_citation_count > 0
          ? [['Marks removed', `${run.invalid_citation_count} that named no source`] as const]
          : []),
        ...(session.data
          ? [
              [
                'Conversation',
                <Link key="chat" href={links.chat(session.data)}>
                  open it
                </Link>,
              ] as const,
            ]
          : []),
      ]}
    />
  )
}

function Cancel({ run }: { run: RunDetail }) {
  const { bulkhead } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const cancel = useMutation({
    mutationFn: () => bulkhead.cancelRun(run.run_id),
    onError: (error) => {
      if (tellError(error).code !== 'run_not_active') toast.failed('The run was not cancelled', error)
    },
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['runs'] }),
  })
  return (
    <Button
      kind="danger"
      icon={<Square size={14} aria-hidden />}
      busy={(cancel.isPending || cancel.isSuccess || run.cancel_requested_at !== null) && 'Cancelling…'}
      onClick={() => cancel.mutate()}
    >
      Cancel the run
    </Button>
  )
}
