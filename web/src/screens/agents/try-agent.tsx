import { useEffect, useRef, useState, type FormEvent } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { links } from '../../lib/links.ts'
import { Button, Card, ErrorNotice, Notice, Row, Stack, TextAreaField } from '../../ui/index.ts'
import styles from './try-agent.module.css'

/** One question to the agent, as the person signed in. The conversation stays under Chat. */
export function TryAgent({ agentId, name, isPublished }: { agentId: string; name: string; isPublished: boolean }) {
  const { bulkhead } = useBackend()
  const [message, setMessage] = useState('')
  const [answer, setAnswer] = useState<string | null>(null)
  const [steps, setSteps] = useState<string[]>([])
  const [sessionId, setSessionId] = useState<string | null>(null)
  const [error, setError] = useState<unknown>(null)
  const [isBusy, setIsBusy] = useState(false)
  const reading = useRef<AbortController | null>(null)
  useEffect(() => () => reading.current?.abort(), [])

  const ask = async (event: FormEvent) => {
    event.preventDefault()
    const controller = new AbortController()
    reading.current = controller
    setIsBusy(true)
    setError(null)
    setAnswer('')
    setSteps([])
    setSessionId(null)
    try {
      for await (const told of bulkhead.chat({ message, agentId, signal: controller.signal })) {
        if (told.event === 'start') setSessionId(told.session_id)
        else if (told.event === 'content_delta') setAnswer((before) => (before ?? '') + told.delta)
        else if (told.event === 'complete') setAnswer(told.content)
        else if (told.event === 'other' && told.name === 'tool_call') {
          const called = String(told.data['tool_name'] ?? 'a tool')
          setSteps((before) => [...before, called])
        }
      }
    } catch (reason) {
      if (!controller.signal.aborted) setError(reason)
    } finally {
      setIsBusy(false)
    }
  }
  return (
    <Card>
      <form onSubmit={(event) => void ask(event)}>
        <Stack>
          {!isPublished && (
            <Notice tone="warn">{name} is unpublished: it can only be tried once it is published.</Notice>
          )}
          <TextAreaField
            label={`Ask ${name}`}
            rows={3}
            required
            value={message}
            hint="It acts with your rights, and what it does for you is done."
            onChange={(event) => setMessage(event.currentTarget.value)}
          />
          <Row>
            <Button
              kind="primary"
              type="submit"
              busy={isBusy && `${name} is answering…`}
              disabled={!isPublished || !message.trim()}
            >
              Ask
            </Button>
            {sessionId && <Link href={links.chat(sessionId)}>Go on in the chat</Link>}
          </Row>
          <div aria-live="polite">
            {steps.length > 0 && (
              <p>
                Tools:{' '}
                {steps.map((step, index) => (
                  <code key={index}>{step} </code>
                ))}
              </p>
            )}
            {answer !== null && <p className={styles['answer']}>{answer || (isBusy ? '…' : 'It said nothing.')}</p>}
          </div>
          {error !== null && <ErrorNotice error={error} title="There is no answer" />}
        </Stack>
      </form>
    </Card>
  )
}
