import { useId, type ComponentProps, type ReactNode } from 'react'
import styles from './controls.module.css'

type Common = {
  label: string
  /** A sentence below the control. */
  hint?: ReactNode
  /** What is wrong with the value; read aloud. */
  error?: string | null | undefined
  /** The label is for screen readers only. */
  hideLabel?: boolean
}

/** A label, its control, and what is to be known about it. `children` gets the attributes that tie them together. */
export function Field(
  props: Common & {
    children: (control: {
      id: string
      'aria-describedby': string | undefined
      'aria-invalid': true | undefined
    }) => ReactNode
  },
) {
  const { label, hint, error, hideLabel, children } = props
  const id = useId()
  const about = error ? `${id}-error` : hint ? `${id}-hint` : undefined
  return (
    <div className={styles['field']}>
      <label className={hideLabel ? 'visually-hidden' : styles['label']} htmlFor={id}>
        {label}
      </label>
      {children({ id, 'aria-describedby': about, 'aria-invalid': error ? true : undefined })}
      {error ? (
        <span className={styles['error']} id={`${id}-error`} role="alert">
          {error}
        </span>
      ) : (
        hint && (
          <span className={styles['hint']} id={`${id}-hint`}>
            {hint}
          </span>
        )
      )}
    </div>
  )
}

const split = <T extends Common>({ label, hint, error, hideLabel, ...rest }: T) => ({
  common: { label, hint, error, ...(hideLabel === undefined ? {} : { hideLabel }) },
  rest,
})

export function TextField(props: Common & ComponentProps<'input'>) {
  const { common, rest } = split(props)
  return <Field {...common}>{(control) => <input className={styles['input']} {...rest} {...control} />}</Field>
}

export function TextAreaField(props: Common & ComponentProps<'textarea'>) {
  const { common, rest } = split(props)
  return (
    <Field {...common}>{(control) => <textarea className={styles['input']} rows={3} {...rest} {...control} />}</Field>
  )
}

/** A native select: the best there is on a phone and for the keyboard. */
export function SelectField(
  props: Common &
    ComponentProps<'select'> & { options: readonly { value: string; label: string; disabled?: boolean }[] },
) {
  const { common, rest } = split(props)
  const { options, ...select } = rest
  return (
    <Field {...common}>
      {(control) => (
        <select className={styles['input']} {...select} {...control}>
          {options.map(({ value, label, disabled }) => (
            <option key={value} value={value} disabled={disabled}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

export function CheckField({ label, hint, ...rest }: { label: string; hint?: ReactNode } & ComponentProps<'input'>) {
  const id = useId()
  return (
    <span className={styles['check']}>
      <input type="checkbox" {...rest} id={id} aria-describedby={hint ? `${id}-hint` : undefined} />
      <span>
        <label htmlFor={id}>{label}</label>
        {hint && (
          <div className={styles['hint']} id={`${id}-hint`}>
            {hint}
          </div>
        )}
      </span>
    </span>
  )
}
