import type { ReactNode } from 'react'
import styles from './layout.module.css'

/** The heading of a screen, what it is for in a sentence, and what can be done there. */
export function PageHeader(props: { title: ReactNode; description?: ReactNode; actions?: ReactNode }) {
  const { title, description, actions } = props
  return (
    <header className={styles['header']}>
      <div className={styles['heading']}>
        <h1>{title}</h1>
        {description && <p className={styles['description']}>{description}</p>}
      </div>
      {actions && <div className={styles['row']}>{actions}</div>}
    </header>
  )
}

/** A framed part of a page. */
export function Card({ title, actions, children }: { title?: ReactNode; actions?: ReactNode; children: ReactNode }) {
  return (
    <section className={styles['card']}>
      {(title || actions) && (
        <div className={styles['card-head']}>
          {title && <h2>{title}</h2>}
          {actions && <div className={styles['row']}>{actions}</div>}
        </div>
      )}
      {children}
    </section>
  )
}

/** Things below each other. */
export function Stack({ children, gap = 4 }: { children: ReactNode; gap?: 2 | 3 | 4 | 5 }) {
  return <div className={`${styles['stack']} ${styles[`gap-${gap}`]}`}>{children}</div>
}

/** Things beside each other, as far as there is room. `even`: all equally wide. */
export function Row({ children, even }: { children: ReactNode; even?: boolean }) {
  return <div className={even ? styles['even'] : styles['row']}>{children}</div>
}

/** Names and values of one thing. */
export function Facts({ facts }: { facts: readonly (readonly [name: string, value: ReactNode])[] }) {
  return (
    <dl className={styles['facts']}>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}
