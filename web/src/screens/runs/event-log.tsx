import { useState } from 'react'
import type { RunEvent } from '../../../../client/index.ts'
import { Button, Card, JsonView } from '../../ui/index.ts'
import styles from './runs.module.css'

/** Events that are drawn at once. */
const SHOWN = 200
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })

/** The log as it is, event by event; the pieces of the answer are left out. */
export function EventLog(props: { events: readonly RunEvent[]; isLoaded: boolean; lastSeq: number }) {
  const { events, isLoaded, lastSeq } = props
  const [isOpen, setIsOpen] = useState(false)
  const [limit, setLimit] = useState(SHOWN)
  return (
    <Card>
      <details onToggle={(event) => setIsOpen(event.currentTarget.open)}>
        <summary className={styles['summary']}>Event log ({lastSeq} events, pieces of the answer left out)</summary>
        {isOpen && isLoaded && events.length === 0 && (
          <p className={styles['aside']}>The log is gone: it is kept for the days that an admin has set.</p>
        )}
        {isOpen && (
          <ol className={styles['events']}>
            {events.slice(0, limit).map((event) => {
              const { seq, ts, event: kind, type, run_id: _run, ...rest } = event
              return (
                <li key={seq}>
                  <details>
                    <summary>
                      <span className={styles['seq']}>{seq}</span>
                      <code>{kind ?? type}</code>
                      {ts && <time dateTime={ts}>{clock.format(new Date(ts))}</time>}
                    </summary>
                    <JsonView value={rest} label={`Event ${seq}`} />
                  </details>
                </li>
              )
            })}
          </ol>
        )}
        {isOpen && events.length > limit && (
          <Button small onClick={() => setLimit((count) => count + SHOWN)}>
            {events.length - limit} more
          </Button>
        )}
      </details>
    </Card>
  )
}
