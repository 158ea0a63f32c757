import { ArrowDown } from 'lucide-react'
import { useState, type ReactNode } from 'react'
import { AgentName, useAgents } from '../../app/agents.tsx'
import { Button, EmptyState, ErrorNotice, Notice, SelectField, Waiting } from '../../ui/index.ts'
import styles from './chat.module.css'
import { Composer } from './composer.tsx'
import { MESSAGES_PAGE, useConversation } from './data.ts'
import { Beginning } from './beginning.tsx'
import { SessionMenu, titleOf } from './session-list.tsx'
import { TurnView } from './turn-view.tsx'
import { isAnswering, shownTurns } from './turns.ts'
import type { Asking } from './use-asking.ts'
import { useStickToEnd } from './use-stick-to-end.ts'

const NO_TURNS: [] = []

/** One conversation, or the beginning of one while `sessionId` is null. */
export function Conversation(props: {
  sessionId: string | null
  /** Number of the new conversation. */
  draft: number
  asking: Asking
  onOpened: (sessionId: string) => void
  onGone: (sessionId: string) => void
  actions: ReactNode
}) {
  const { sessionId, draft, asking, onOpened, onGone, actions } = props
  const [limit, setLimit] = useState(MESSAGES_PAGE)
  const [agentId, setAgentId] = useState<string | null>(null)
  const conversation = useConversation(sessionId, limit)
  const stored = conversation.data?.turns ?? NO_TURNS
  const asks = asking.asks.filter((ask) =>
    sessionId === null ? ask.sessionId === null && ask.draft === draft : ask.sessionId === sessionId,
  )
  const turns = shownTurns(stored, asks)
  const active = turns.findLast(isAnswering) ?? null
  const [wasActive, setWasActive] = useState(false)
  if (active && !wasActive) setWasActive(true)
  const { end, isAtEnd, toEnd } = useStickToEnd(turns.length > 0 ? (sessionId ?? 'draft') : null)

  const send = (question: string) => {
    toEnd()
    asking.ask(question, {
      sessionId,
      draft: sessionId === null ? draft : null,
      agentId: sessionId === null ? (agentId ?? undefined) : undefined,
      knownIds: new Set(stored.map(({ id }) => id)),
      onSession: onOpened,
    })
  }

  const session = conversation.data?.session
  const isGone = sessionId !== null && conversation.data === null
  return (
    <section className={styles['conversation']} aria-labelledby="conversation-title">
      <header className={styles['head']}>
        <div className={styles['heading']}>
          <h1 id="conversation-title">
            {sessionId === null ? 'New conversation' : session ? titleOf(session) : 'Conversation'}
          </h1>
          {session && (
            <p className={styles['hint']}>
              with <AgentName id={session.agent_id} />
            </p>
          )}
        </div>
        {session && <SessionMenu session={session} onGone={onGone} />}
        {actions}
      </header>

      {isGone ? (
        <EmptyState title="This conversation does not exist">
          It was deleted, or it is not yours: nobody sees the conversations of others.
        </EmptyState>
      ) : (
        <>
          <div className={styles['turns']}>
            {sessionId !== null && !conversation.data && turns.length === 0 && (
              <>
                {conversation.error ? (
                  <ErrorNotice error={conversation.error} onRetry={() => void conversation.refetch()} />
                ) : (
                  <Waiting what="Reading the conversation" />
                )}
              </>
            )}
            {conversation.data?.hasEarlier && (
              <Button small onClick={() => setLimit((count) => count + MESSAGES_PAGE)}>
                Earlier messages
              </Button>
            )}
            {conversation.error && conversation.data && (
              <Notice tone="warn">What is shown may be out of date: the server cannot be reached.</Notice>
            )}
            {sessionId === null && turns.length === 0 && <Beginning onAsk={send} />}
            {turns.map((shown) => (
              <TurnView
                key={shown.key}
                shown={shown}
                track={asking.track}
                // A question that was not taken goes out of the way of its repetition.
                onAskAgain={(question) => {
                  if (shown.ask?.error != null) asking.dismiss(shown.ask.key)
                  send(question)
                }}
                canAskAgain={active === null}
              />
            ))}
            <div ref={end} />
          </div>
          <p className="visually-hidden" role="status">
            {active ? 'The answer is being written.' : wasActive ? 'The answer is there.' : ''}
          </p>
          <div className={styles['foot']}>
            {!isAtEnd && turns.length > 0 && (
              <button type="button" className={styles['to-end']} onClick={toEnd}>
                <ArrowDown size={14} aria-hidden /> To the latest
              </button>
            )}
            {sessionId === null && turns.length === 0 && <AgentChoice value={agentId} onChange={setAgentId} />}
            <Composer
              onSend={send}
              underWay={
                active && {
                  runId: active.turn.run?.run_id ?? active.ask?.runId ?? null,
                  isWaiting: active.turn.run?.status === 'waiting',
                }
              }
            />
          </div>
        </>
      )}
    </section>
  )
}

/** Which agent a new conversation is with; nothing to choose where there is one only. */
function AgentChoice({ value, onChange }: { value: string | null; onChange: (id: string) => void }) {
  const agents = useAgents()
  const offered = agents.data?.filter(({ published }) => published) ?? []
  const chosen = value ?? offered.find((agent) => agent.is_default)?.id ?? ''
  if (offered.length < 2) return null
  return (
    <div className={styles['agent']}>
      <SelectField
        label="Agent"
        value={chosen}
        onChange={(event) => onChange(event.currentTarget.value)}
        options={offered.map(({ id, name, is_default }) => ({
          value: id,
          label: is_default ? `${name} (default)` : name,
        }))}
      />
    </div>
  )
}
