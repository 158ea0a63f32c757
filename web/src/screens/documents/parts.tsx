import { Check, Circle, CircleAlert, Globe, LoaderCircle, Lock, Users } from 'lucide-react'
import type { ReactNode } from 'react'
import { Badge } from '../../ui/index.ts'
import { ShortId } from '../../ui/values.tsx'
import type { Document, Visibility } from './data.ts'
import type { State } from './state.ts'
import styles from './documents.module.css'

const VISIBILITIES = {
  tenant: { Icon: Globe, text: 'Everyone' },
  private: { Icon: Lock, text: 'Owner only' },
  granted: { Icon: Users, text: 'Named people' },
} as const

/** Who may see a document, in a word. */
export function VisibilityText({ visibility }: { visibility: Visibility }) {
  const { Icon, text } = VISIBILITIES[visibility]
  return (
    <span className={styles['with-icon']}>
      <Icon size={15} aria-hidden />
      {text}
    </span>
  )
}

/** How far a document is, with the reason on hover where it failed. */
export function StateBadge({ document: { state } }: { document: Document }) {
  const title = state.failure?.message ?? state.detail
  return (
    <Badge tone={state.tone} {...(title ? { title } : {})}>
      {!state.isSettled && <LoaderCircle className={styles['turning']} size={13} aria-hidden />}
      {state.label}
    </Badge>
  )
}

const STEPS = [
  { done: 'Uploaded', now: 'Uploading', failed: 'Upload incomplete', ahead: 'Upload' },
  { done: 'Text extracted', now: 'Extracting text', failed: 'Text not extracted', ahead: 'Text' },
  { done: 'Indexed', now: 'Indexing', failed: 'Not indexed', ahead: 'Index' },
] as const

/** The way from bytes to indexed, and where on it a document is. */
export function Steps({ state }: { state: State }) {
  return (
    <ol className={styles['steps']}>
      {STEPS.map((step, index) => {
        const isHere = index === state.done
        const there = state.failure ? 'failed' : state.isSettled ? 'ahead' : 'now'
        const kind = index < state.done ? 'done' : isHere ? there : 'ahead'
        const Icon = { done: Check, ahead: Circle, failed: CircleAlert, now: LoaderCircle }[kind]
        const said = { done: 'done', ahead: 'not yet', failed: 'failed', now: 'under way' }[kind]
        return (
          <li key={step.done} className={styles[`step-${kind}`]}>
            <Icon size={15} className={kind === 'now' ? styles['turning'] : undefined} aria-hidden />
            {step[kind]}
            {kind === 'now' && state.indexed && ` ${state.indexed}`}
            <span className="visually-hidden">: {said}</span>
          </li>
        )
      })}
    </ol>
  )
}

/** Why a document cannot be searched, what helps, and what to quote. */
export function FailureNotice(props: { document: Pick<Document, 'id' | 'state'>; actions?: ReactNode }) {
  const { document, actions } = props
  const { failure } = document.state
  if (!failure) return null
  return (
    <div className={styles['failure']} role="alert">
      <p>
        {failure.message} {failure.advice}
      </p>
      <p className={styles['codes']}>
        {failure.reasonCode && (
          <>
            Reason <code>{failure.reasonCode}</code> ·{' '}
          </>
        )}
        Document <ShortId id={document.id} />
      </p>
      {actions && <div className={styles['actions']}>{actions}</div>}
    </div>
  )
}
