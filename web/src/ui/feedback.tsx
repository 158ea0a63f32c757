import { CircleAlert, Info, LoaderCircle, TriangleAlert } from 'lucide-react'
import { useEffect, useState, type ReactNode } from 'react'
import { tellError } from '../lib/errors.ts'
import { Button } from './button.tsx'
import { Copyable } from './values.tsx'
import styles from './feedback.module.css'

/** Says what is awaited, and after a while that it takes longer than usual. */
export function Waiting({ what, small }: { what: string; small?: boolean }) {
  const [isLong, setIsLong] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => setIsLong(true), 8_000)
    return () => clearTimeout(timer)
  }, [])
  return (
    <p className={`${styles['waiting']} ${small ? styles['small'] : ''}`} role="status">
      <LoaderCircle className={styles['turning']} size={small ? 14 : 18} aria-hidden />
      {what}…{isLong && ' This takes longer than usual.'}
    </p>
  )
}

/** What a screen is for while there is nothing on it, and how that changes. */
export function EmptyState(props: { title: string; children?: ReactNode; actions?: ReactNode; icon?: ReactNode }) {
  const { title, children, actions, icon } = props
  return (
    <section className={styles['empty']}>
      {icon}
      <h2>{title}</h2>
      {children && <div className={styles['empty-text']}>{children}</div>}
      {actions && <div className={styles['empty-actions']}>{actions}</div>}
    </section>
  )
}

/** An error: what happened, what to do, and the code and request to quote. */
export function ErrorNotice({ error, title, onRetry }: { error: unknown; title?: string; onRetry?: () => void }) {
  const { message, code, requestId, hint } = tellError(error)
  return (
    <div className={`${styles['notice']} ${styles['bad']}`} role="alert">
      <CircleAlert size={18} aria-hidden />
      <div className={styles['notice-text']}>
        {title && <strong>{title}</strong>}
        <p>{message}</p>
        {hint && <p>{hint}</p>}
        <p className={styles['codes']}>
          Code <code>{code}</code>
          {requestId && (
            <>
              {' '}
              · Request <Copyable value={requestId} />
            </>
          )}
        </p>
        {onRetry && (
          <Button small onClick={onRetry}>
            Try again
          </Button>
        )}
      </div>
    </div>
  )
}

/** A sentence worth a frame. */
export function Notice({ tone = 'info', children }: { tone?: 'info' | 'warn'; children: ReactNode }) {
  const Icon = tone === 'info' ? Info : TriangleAlert
  return (
    <div className={`${styles['notice']} ${styles[tone]}`}>
      <Icon size={18} aria-hidden />
      <div className={styles['notice-text']}>{children}</div>
    </div>
  )
}
