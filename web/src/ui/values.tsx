import { Check, Copy } from 'lucide-react'
import { useState } from 'react'
import { withoutUnseen } from '../lib/unseen.ts'
import styles from './values.module.css'

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
]
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const absolute = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })

/** How long ago or ahead, with the exact time on hover. `exact` shows that instead. */
export function Time({ at, exact }: { at: string | null | undefined; exact?: boolean }) {
  if (!at) return <span>never</span>
  const date = new Date(at)
  const seconds = Math.round((date.getTime() - Date.now()) / 1000)
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ['second', 1]
  return (
    <time dateTime={at} title={absolute.format(date)}>
      {exact ? absolute.format(date) : relative.format(Math.trunc(seconds / size), unit)}
    </time>
  )
}

/** A value that one click copies. */
export function Copyable({ value, shown = value }: { value: string; shown?: string }) {
  const [isCopied, setIsCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard?.writeText(value).catch(() => undefined)
    setIsCopied(true)
    setTimeout(() => setIsCopied(false), 1_500)
  }
  return (
    <button type="button" className={styles['copy']} title={`Copy ${value}`} onClick={() => void copy()}>
      <code>{shown}</code>
      {isCopied ? <Check size={13} aria-label="Copied" /> : <Copy size={13} aria-hidden />}
    </button>
  )
}

/** The first characters of an id; the whole is copied. */
export function ShortId({ id }: { id: string }) {
  return <Copyable value={id} shown={id.slice(0, 8)} />
}

/** JSON as it is, indented; nothing in it is interpreted, and what could not be seen is escaped: people decide by what they read here. */
export function JsonView({ value, label }: { value: unknown; label: string }) {
  return (
    <pre className={styles['json']} aria-label={label} tabIndex={0}>
      {withoutUnseen(typeof value === 'string' ? value : JSON.stringify(value, null, 2))}
    </pre>
  )
}
