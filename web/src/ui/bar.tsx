import { Meter } from '@base-ui/react/meter'
import styles from './data.module.css'
import type { Tone } from './badge.tsx'

/** A small bar from 0 to `max`, with its value in words for who cannot see it. */
export function Bar(props: {
  label: string
  value: number
  max: number
  text?: string
  tone?: Tone
  hideText?: boolean
}) {
  const { label, value, max, text = String(value), tone = 'accent', hideText } = props
  return (
    <Meter.Root
      className={styles['meter']}
      // In per cent, rounded: what is written as 1e-8 is no number to a screen reader.
      value={max > 0 ? Math.round((Math.min(value, max) / max) * 1000) / 10 : 0}
      max={100}
      aria-label={label}
      aria-valuetext={text}
    >
      <Meter.Track className={styles['track']}>
        <Meter.Indicator className={`${styles['indicator']} ${styles[`fill-${tone}`]}`} />
      </Meter.Track>
      {!hideText && <span className={styles['meter-text']}>{text}</span>}
    </Meter.Root>
  )
}
