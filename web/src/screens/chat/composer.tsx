import { useMutation } from '@tanstack/react-query'
import { ArrowUp, Square } from 'lucide-react'
import { useEffect, useId, useRef, useState, type FormEvent, type KeyboardEvent } from 'react'
import { BulkheadError } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'
import { Button, useToast } from '../../ui/index.ts'
import styles from './chat.module.css'

/** As many as a message may have. */
const MAX_CHARS = 20_000

/** What is under way, as the composer needs to know it. */
export type UnderWay = {
  /** Null until the run has begun: there is nothing to stop before. */
  runId: string | null
  isWaiting: boolean
}

/** Where questions are written. While an answer is on its way the next one can be written, but not sent. */
export function Composer(props: { underWay: UnderWay | null; onSend: (question: string) => void }) {
  const { underWay, onSend } = props
  const id = useId()
  const field = useRef<HTMLTextAreaElement>(null)
  const [text, setText] = useState('')
  const isEmpty = text.trim() === ''

  useEffect(() => {
    // On a phone the keyboard would cover what is to be read first.
    if (matchMedia('(hover: hover)').matches) field.current?.focus({ preventScroll: true })
  }, [])
  useEffect(() => {
    const area = field.current
    if (!area) return
    area.style.height = 'auto'
    area.style.height = `${Math.min(area.scrollHeight + 2, innerHeight * 0.4)}px`
  }, [text])

  const send = (event?: FormEvent) => {
    event?.preventDefault()
    if (underWay || isEmpty) return
    onSend(text.trim())
    setText('')
  }
  const onKeyDown = (event: KeyboardEvent) => {
    // Enter ends the composition of a character, where there is one.
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }
  return (
    <form className={styles['composer']} onSubmit={send}>
      <label className="visually-hidden" htmlFor={id}>
        Your question
      </label>
      <div className={styles['composer-frame']}>
        <textarea
          ref={field}
          id={id}
          rows={1}
          value={text}
          maxLength={MAX_CHARS}
          placeholder="Ask about your documents"
          aria-describedby={`${id}-hint`}
          onChange={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        {underWay ? (
          <Stop runId={underWay.runId} />
        ) : (
          <Button kind="primary" type="submit" icon={<ArrowUp size={16} aria-hidden />} disabled={isEmpty}>
            Send
          </Button>
        )}
      </div>
      <p className={styles['hint']} id={`${id}-hint`} aria-live="polite">
        {underWay === null
          ? 'Enter sends, Shift + Enter begins a new line.'
          : underWay.isWaiting
            ? 'A person has to decide first. You can send again when the answer is there, or stop it.'
            : 'The answer is being written. You can send again when it is there, or stop it.'}
      </p>
    </form>
  )
}

function Stop({ runId }: { runId: string | null }) {
  const { bulkhead } = useBackend()
  const toast = useToast()
  const stop = useMutation({
    mutationFn: async (id: string) => {
      try {
        await bulkhead.cancelRun(id)
      } catch (error) {
        // It has come to its end by itself.
        if (!(error instanceof BulkheadError && error.code === 'run_not_active')) throw error
      }
    },
    onError: (error) => toast.failed('The answer was not stopped', error),
  })
  return (
    <Button
      icon={<Square size={14} aria-hidden />}
      disabled={runId === null}
      busy={(stop.isPending || stop.isSuccess) && 'Stopping…'}
      onClick={() => runId !== null && stop.mutate(runId)}
    >
      Stop
    </Button>
  )
}
