import type { ReactNode } from 'react'
import styles from './data.module.css'

export type Tone = 'neutral' | 'good' | 'warn' | 'bad' | 'info' | 'accent'

export function Badge({ tone = 'neutral', children, title }: { tone?: Tone; children: ReactNode; title?: string }) {
  return (
    <span className={`${styles['badge']} ${styles[tone]}`} title={title}>
      {children}
    </span>
  )
}

const TONES: Record<string, Tone> = {
  indexed: 'good',
  extracted: 'good',
  completed: 'good',
  approved: 'good',
  active: 'good',
  running: 'info',
  extracting: 'info',
  indexing: 'info',
  pending: 'neutral',
  waiting: 'warn',
  attention_required: 'warn',
  expired: 'warn',
  failed: 'bad',
  denied: 'bad',
  rejected: 'bad',
  cancelled: 'neutral',
}

/** A status as the database names it, in words and with a colour of its own. */
export function StatusBadge({ status, title }: { status: string; title?: string }) {
  return (
    <Badge tone={TONES[status] ?? 'neutral'} {...(title ? { title } : {})}>
      {status.replaceAll('_', ' ')}
    </Badge>
  )
}
