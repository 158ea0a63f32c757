import type { ComponentProps, ReactNode } from 'react'
import styles from './controls.module.css'

type ButtonProps = Omit<ComponentProps<'button'>, 'type'> & {
  /** `primary` once a screen at most; `danger` for what cannot be undone; `quiet` beside others. */
  kind?: 'primary' | 'default' | 'danger' | 'quiet'
  icon?: ReactNode
  /** What is under way, e.g. `Deleting…`: shown instead of the label, and the button takes no second click. */
  busy?: string | false | undefined
  type?: 'button' | 'submit'
  small?: boolean
}

/** A button. Never submits a form unless it says so. */
export function Button({
  kind = 'default',
  icon,
  busy,
  type = 'button',
  small,
  children,
  disabled,
  ...rest
}: ButtonProps) {
  return (
    <button
      {...rest}
      type={type}
      className={[styles['button'], styles[kind], small && styles['small'], rest.className].filter(Boolean).join(' ')}
      disabled={disabled || Boolean(busy)}
      aria-busy={busy ? true : undefined}
    >
      {icon}
      {busy ? busy : children}
    </button>
  )
}

/** A button that is an icon; `label` is read aloud and shown on hover. */
export function IconButton({
  label,
  icon,
  ...rest
}: Omit<ComponentProps<'button'>, 'children'> & { label: string; icon: ReactNode }) {
  return (
    <button
      type="button"
      {...rest}
      className={[styles['icon-button'], rest.className].filter(Boolean).join(' ')}
      aria-label={label}
      title={label}
    >
      {icon}
    </button>
  )
}
