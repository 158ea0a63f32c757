import { MessagesSquare, Plus } from 'lucide-react'
import { useCallback, useEffect, useRef, useState } from 'react'
import { Link, useLocation, useRoute } from 'wouter'
import { Button, Dialog } from '../../ui/index.ts'
import styles from './chat.module.css'
import { Conversation } from './conversation.tsx'
import { SessionList } from './session-list.tsx'
import { useAsking } from './use-asking.ts'

/** The person's conversations, and one of them: with its agent, as it is written, in every window alike. */
export default function Chat() {
  const asking = useAsking()
  const [isMatch, params] = useRoute('/:id')
  const sessionId = isMatch ? params.id : null
  const [, navigate] = useLocation()
  const [isListOpen, setIsListOpen] = useState(false)
  /** Counts the new conversations, so that each begins with nothing in it. */
  const [drafts, setDrafts] = useState(0)
  const shown = useRef(sessionId)
  useEffect(() => {
    shown.current = sessionId
    setIsListOpen(false)
  }, [sessionId])

  const opened = useCallback(
    (id: string) => {
      // Who has gone elsewhere meanwhile stays there.
      if (shown.current === null) navigate(`/${id}`, { replace: true })
    },
    [navigate],
  )
  const begin = () => {
    setDrafts((count) => count + 1)
    setIsListOpen(false)
    navigate('/')
  }

  const onGone = (id: string) => {
    if (id === shown.current) begin()
  }
  const list = <SessionList openId={sessionId} onGone={onGone} />
  // A conversation that has just got its id stays the same on the page.
  const asked = asking.asks.find((each) => each.sessionId !== null && each.sessionId === sessionId)
  const key = asked && asked.draft !== null ? `draft-${asked.draft}` : (sessionId ?? `draft-${drafts}`)
  return (
    <div className={styles['screen']}>
      <nav className={styles['side']} aria-label="Conversations">
        <Button icon={<Plus size={16} aria-hidden />} onClick={begin}>
          New conversation
        </Button>
        {list}
      </nav>
      <Conversation
        key={key}
        sessionId={sessionId}
        draft={drafts}
        asking={asking}
        onGone={onGone}
        onOpened={opened}
        actions={
          <span className={styles['phone-only']}>
            <Button icon={<MessagesSquare size={16} aria-hidden />} onClick={() => setIsListOpen(true)}>
              All
              <span className="visually-hidden"> conversations</span>
            </Button>
            <Link className={styles['new-link'] ?? ''} href="/" onClick={begin} aria-label="New conversation">
              <Plus size={18} aria-hidden />
            </Link>
          </span>
        }
      />
      <Dialog title="Conversations" open={isListOpen} onClose={() => setIsListOpen(false)}>
        {list}
      </Dialog>
    </div>
  )
}
