import { Menu as Base } from '@base-ui/react/menu'
import type { ReactElement, ReactNode } from 'react'
import styles from './overlay.module.css'

export type MenuItem = { label: string; icon?: ReactNode; onSelect: () => void; danger?: boolean; disabled?: boolean }

/** A button that opens a list of actions. */
export function Menu({ trigger, items }: { trigger: ReactElement; items: readonly MenuItem[] }) {
  return (
    <Base.Root modal={false}>
      <Base.Trigger render={trigger} />
      <Base.Portal>
        <Base.Positioner className={styles['positioner']} sideOffset={4} align="end">
          <Base.Popup className={styles['menu']}>
            {items.map(({ label, icon, onSelect, danger, disabled }) => (
              <Base.Item
                key={label}
                className={[styles['item'], danger && styles['item-danger']].filter(Boolean).join(' ')}
                onClick={onSelect}
                disabled={disabled ?? false}
              >
                {icon}
                {label}
              </Base.Item>
            ))}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  )
}
