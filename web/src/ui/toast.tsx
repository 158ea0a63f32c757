import { Toast } from '@base-ui/react/toast'
import { X } from 'lucide-react'
import type { ReactNode } from 'react'
import { tellError } from '../lib/errors.ts'
import styles from './overlay.module.css'

/** Around everything that may tell something in passing. */
export function ToastProvider({ children }: { children: ReactNode }) {
  return (
    <Toast.Provider timeout={6_000} limit={3}>
      {children}
      <Toast.Portal>
        <Toast.Viewport className={styles['toasts']}>
          <Toasts />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  )
}

function Toasts() {
  const { toasts } = Toast.useToastManager()
  return toasts.map((toast) => (
    <Toast.Root key={toast.id} toast={toast} className={styles['toast']} data-type={toast.type}>
      <div className={styles['toast-text']}>
        <Toast.Title className={styles['toast-title']} />
        <Toast.Description className={styles['toast-description']} />
      </div>
      <Toast.Close className={styles['close']} aria-label="Dismiss">
        <X size={16} aria-hidden />
      </Toast.Close>
    </Toast.Root>
  ))
}

/** Tells in passing what was done, or why it was not. What must not be missed belongs on the page instead. */
export function useToast(): {
  done: (title: string, description?: string) => void
  failed: (title: string, error: unknown) => void
} {
  const manager = Toast.useToastManager()
  return {
    done: (title, description) => void manager.add({ title, ...(description ? { description } : {}), type: 'done' }),
    failed: (title, error) => {
      const { message, code, requestId, hint } = tellError(error)
      const named = `(${code}${requestId ? `, request ${requestId}` : ''})`
      void manager.add({
        title,
        description: [message, hint, named].filter(Boolean).join(' '),
        type: 'error',
        timeout: 12_000,
      })
    },
  }
}
