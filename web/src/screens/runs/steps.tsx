import { Brain, CircleAlert, CircleCheck, CircleDashed, Hourglass, Info, TriangleAlert, Wrench } from 'lucide-react'
import type { ReactNode } from 'react'
import { Badge, JsonView, type Tone } from '../../ui/index.ts'
import { between, duration, type CallView, type Note, type StepView } from './activity.ts'
import styles from './steps.module.css'

/** The steps of a run one below the other: calls of tools with exact arguments and results, and what went otherwise. */
export function Steps(props: {
  steps: readonly StepView[]
  /** The run goes on: its last step is not over. */
  isActive: boolean
  /** What stands in the head of a step beside its time, e.g. its tokens. */
  headOf?: (step: StepView) => ReactNode
  /** What stands below a call that waits or was interrupted. */
  belowCall?: (call: CallView) => ReactNode
}) {
  const { steps, isActive, headOf, belowCall } = props
  return (
    <ol className={styles['steps']}>
      {steps.map((step, at) => {
        const goesOn = isActive && at === steps.length - 1
        return (
          <li key={step.step} className={styles['step']} data-active={goesOn || undefined}>
            <div className={styles['head']}>
              <strong>Step {step.step}</strong>
              <span className={styles['aside']}>
                {step.endedAt ? duration(between(step.startedAt, step.endedAt)) : goesOn ? 'under way' : ''}
              </span>
              {headOf?.(step)}
            </div>
            {step.notes.map((note, i) => (
              <NoteLine key={i} note={note} />
            ))}
            {step.reasoning && (
              <details className={styles['details']}>
                <summary>
                  <Brain size={15} aria-hidden /> Thoughts
                </summary>
                <p className={styles['thoughts']}>{step.reasoning}</p>
              </details>
            )}
            {step.calls.map((call) => (
              <Call key={call.callId} call={call} below={belowCall?.(call)} />
            ))}
          </li>
        )
      })}
    </ol>
  )
}

const CALL: Record<CallView['status'], { word: string; tone: Tone; icon: ReactNode }> = {
  running: { word: 'running', tone: 'info', icon: <CircleDashed size={13} aria-hidden /> },
  waiting: { word: 'waits for approval', tone: 'warn', icon: <Hourglass size={13} aria-hidden /> },
  interrupted: { word: 'interrupted', tone: 'warn', icon: <TriangleAlert size={13} aria-hidden /> },
  finished: { word: 'done', tone: 'good', icon: <CircleCheck size={13} aria-hidden /> },
  failed: { word: 'failed', tone: 'bad', icon: <CircleAlert size={13} aria-hidden /> },
}

function Call({ call, below }: { call: CallView; below: ReactNode }) {
  const { word, tone, icon } = CALL[call.status]
  return (
    <>
      <details className={styles['details']}>
        <summary>
          <Wrench size={15} aria-hidden />
          <code className={styles['tool']}>{call.toolName}</code>
          <Badge tone={tone}>
            {icon}
            {word}
          </Badge>
          {call.durationMs !== null && <span className={styles['aside']}>{duration(call.durationMs)}</span>}
        </summary>
        <div className={styles['inside']}>
          <h4>Arguments</h4>
          <JsonView value={call.arguments} label={`Arguments of ${call.toolName}`} />
          {call.result !== null && (
            <>
              <h4>{call.status === 'failed' ? 'Error' : 'Result'}</h4>
              <JsonView value={parsed(call.result)} label={`Result of ${call.toolName}`} />
            </>
          )}
        </div>
      </details>
      {below}
    </>
  )
}

/** JSON is indented; everything else stays the text it is. */
function parsed(result: string): unknown {
  if (!/^\s*[[{]/.test(result)) return result
  try {
    return JSON.parse(result)
  } catch {
    return result
  }
}

function NoteLine({ note }: { note: Note }) {
  const Icon = note.tone === 'warn' ? TriangleAlert : Info
  return (
    <p className={styles['note']} data-tone={note.tone}>
      <Icon size={15} aria-hidden /> {note.text}
    </p>
  )
}
