import { Dialog as Base } from '@base-ui/react/dialog'
import { X } from 'lucide-react'
import { useState, type ReactNode } from 'react'
import { Button } from './button.tsx'
import { ErrorNotice } from './feedback.tsx'
import styles from './overlay.module.css'

/** A window over the page that keeps the focus and closes on Escape. */
export function Dialog(props: {
  title: string
  description?: ReactNode
  open: boolean
  onClose: () => void
  children?: ReactNode
  /** Buttons, the one that does it last. */
  actions?: ReactNode
  wide?: boolean
}) {
  const { title, description, open, onClose, children, actions, wide } = props
  return (
    <Base.Root open={open} onOpenChange={(next) => !next && onClose()}>
      <Base.Portal>
        <Base.Backdrop className={styles['backdrop']} />
        <Base.Popup className={[styles['dialog'], wide && styles['wide']].filter(Boolean).join(' ')}>
          <div className={styles['head']}>
            <Base.Title className={styles['title']}>{title}</Base.Title>
            <Base.Close className={styles['close']} aria-label="Close">
              <X size={18} aria-hidden />
            </Base.Close>
          </div>
          {description && <Base.Description className={styles['description']}>{description}</Base.Description>}
          <div className={styles['body']}>{children}</div>
          {actions && <div className={styles['actions']}>{actions}</div>}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  )
}

/** Asks before something that cannot be undone, says what will happen, and shows why it could not be done. */
export function ConfirmDialog(props: {
  title: string
  /** What will happen, in full. */
  children: ReactNode
  /** The verb, e.g. `Delete`. */
  action: string
  /** The verb while it is done, e.g. `Deleting…`. */
  busyLabel: string
  danger?: boolean
  open: boolean
  onClose: () => void
  onConfirm: () => Promise<void>
}) {
  const { title, children, action, busyLabel, danger, open, onClose, onConfirm } = props
  const [isBusy, setIsBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const close = () => {
    setError(null)
    onClose()
  }
  const confirm = async () => {
    setIsBusy(true)
    setError(null)
    try {
      await onConfirm()
      onClose()
    } catch (reason) {
      setError(reason)
    } finally {
      setIsBusy(false)
    }
  }
  return (
    <Dialog
      title={title}
      open={open}
      onClose={close}
      actions={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button kind={danger ? 'danger' : 'primary'} busy={isBusy && busyLabel} onClick={() => void confirm()}>
            {action}
          </Button>
        </>
      }
    >
      {children}
      {error !== null && <ErrorNotice error={error} />}
    </Dialog>
  )
}
