import { useQueryClient } from '@tanstack/react-query'
import { useEffect, useMemo, useRef } from 'react'
import { Link } from 'wouter'
import type { Citation, RunState } from '../../../../client/index.ts'
import { links } from '../../lib/links.ts'
import { Markdown } from '../../lib/markdown/markdown.tsx'
import { Button, Copyable, ErrorNotice, Notice, Row, Waiting } from '../../ui/index.ts'
import { callCount, NO_ACTIVITY, type Activity } from '../runs/activity.ts'
import { runFailure } from '../runs/failure.ts'
import { AnswerActivity } from './answer-activity.tsx'
import { AwaitedApprovals } from './awaited-approvals.tsx'
import styles from './chat.module.css'
import { isActive } from './data.ts'
import { Sources, useCitations } from './sources.tsx'
import { useTrackedRun } from './tracking.ts'
import { isAnswering, type ShownTurn } from './turns.ts'
import type { Asking } from './use-asking.ts'

const NO_CITATIONS: readonly Citation[] = []
const OVER = new Set(['completed', 'failed', 'cancelled'])

type TurnProps = {
  shown: ShownTurn
  track: Asking['track']
  onAskAgain: (question: string) => void
  canAskAgain: boolean
}

/** A question and its answer, as far as it has come. */
export function TurnView({ shown, track, onAskAgain, canAskAgain }: TurnProps) {
  const { turn, ask } = shown
  const queryClient = useQueryClient()
  const runId = turn.run?.run_id ?? ask?.runId ?? null
  // What was followed here stays as it was followed, also when it is stored.
  const wasLive = useRef(false)
  if (turn.answer === null) wasLive.current = true
  const createdAt = ask?.runId ? null : (turn.run?.created_at ?? null)
  const isLive = wasLive.current
  const run = useMemo(
    () => (runId !== null && isLive ? track(runId, createdAt) : null),
    [runId, isLive, createdAt, track],
  )
  const state = useTrackedRun(run)
  const isOver = state !== null && OVER.has(state.status)
  useEffect(() => {
    if (isOver) void queryClient.invalidateQueries({ queryKey: ['chat'] })
  }, [isOver, queryClient])

  const activity = run?.activity() ?? NO_ACTIVITY
  const text = turn.answer?.content ?? (state?.content || ask?.text || '')
  const known = run?.candidates() ?? NO_CITATIONS
  const told = turn.answer?.citations ?? (state?.citations.length ? state.citations : null)
  const citations = useCitations(told ?? known)
  const isBusy = isAnswering(shown) && !isOver
  return (
    <article className={styles['turn']} aria-busy={isBusy}>
      <div className={styles['question']}>
        <h2 className="visually-hidden">You asked</h2>
        <p>{turn.question}</p>
      </div>
      <div className={styles['answer']}>
        <h2 className="visually-hidden">Answer</h2>
        <AnswerActivity live={run ? activity : null} run={turn.run} isActive={isBusy} />
        {text !== '' && <Markdown text={text} citations={citations} />}
        {isBusy && state?.status !== 'waiting' && <Working what={workOf(shown, state, activity)} />}
        {isBusy && turn.run && (state?.status === 'waiting' || turn.run.status === 'waiting') && (
          <AwaitedApprovals run={turn.run} />
        )}
        <Ending shown={shown} state={state} isBusy={isBusy} onAskAgain={canAskAgain ? onAskAgain : null} />
        {told && <Sources citations={told} />}
        {!isBusy && turn.run && (
          <div className={styles['meta']}>
            {text !== '' && <Copyable value={text} shown="Copy the answer" />}
            <Link href={links.run(turn.run.run_id)}>Open the run</Link>
            {turn.run.total_tokens !== null && <span>{turn.run.total_tokens.toLocaleString('en')} tokens</span>}
            {turn.run.model && <span>{turn.run.model}</span>}
          </div>
        )}
      </div>
    </article>
  )
}

/** Says what is awaited. A text that grows needs no word about how long it takes. */
const Working = ({ what }: { what: string }) =>
  what === WRITING ? <p className={styles['hint']}>{WRITING}…</p> : <Waiting key={what} what={what} small />

const WRITING = 'Writing'

/** What is awaited, in words. */
function workOf({ turn, ask }: ShownTurn, state: RunState | null, activity: Activity): string {
  if (turn.run === null && ask !== null && ask.runId === null) {
    return ask.messageId === null ? 'Sending the question' : 'Looking into the documents'
  }
  if (turn.run?.status === 'pending' && state?.seq === 0) return 'Waiting for its turn'
  const running = activity.steps.at(-1)?.calls.filter(({ status }) => status === 'running') ?? []
  if (running.length > 0) return `Running ${running.map(({ toolName }) => toolName).join(', ')}`
  if (state?.content || ask?.text) return WRITING
  return callCount(activity) > 0 ? 'Reading the results' : 'Waiting for the model'
}

/** How it went wrong, if it did, and what can be done. */
function Ending(props: {
  shown: ShownTurn
  state: RunState | null
  isBusy: boolean
  onAskAgain: ((question: string) => void) | null
}) {
  const { shown, state, isBusy, onAskAgain } = props
  const { turn, ask } = shown
  if (isBusy) return null
  const again = onAskAgain && (() => onAskAgain(turn.question))
  const retry = again ? { onRetry: again } : {}
  if (turn.run?.status === 'cancelled' || state?.status === 'cancelled') {
    return (
      <Notice>
        <p>Stopped. What was written until then stays.</p>
        {again && (
          <Button small onClick={again}>
            Ask again
          </Button>
        )}
      </Notice>
    )
  }
  if (turn.answer?.status === 'failed' || state?.error) {
    const error = turn.answer?.error ?? state?.error ?? null
    return (
      <ErrorNotice
        error={runFailure(error?.message ?? null, error?.code ?? null)}
        title="There is no whole answer"
        {...retry}
      />
    )
  }
  if (turn.answer) return null
  if (ask?.error != null) {
    const title = ask.messageId === null ? 'The question was not taken' : 'The question was not answered'
    return <ErrorNotice error={ask.error} title={title} {...retry} />
  }
  // The end of a run and its answer are stored together; what is left are questions that nobody took up.
  if (isActive(turn.run) || ask !== null || (state !== null && OVER.has(state.status))) return null
  return (
    <Notice tone="warn">
      <p>This question was never answered: whoever was to answer it was lost before its run began.</p>
      <Row>
        {again && (
          <Button small onClick={again}>
            Ask again
          </Button>
        )}
      </Row>
    </Notice>
  )
}
