import type { ReactNode } from 'react'
import styles from './data.module.css'

export type Column<Item> = {
  title: string
  cell: (item: Item) => ReactNode
  /** Numbers stand at the right. */
  align?: 'end'
  /** The column that names the row; on a phone it is the head of its card. */
  isHead?: boolean
  /** The title is for screen readers only, e.g. of a column of buttons. */
  hideTitle?: boolean
}

/** Rows and columns; on a phone each row is a card. `caption` says to screen readers what is listed. */
export function DataTable<Item>(props: {
  caption: string
  columns: readonly Column<Item>[]
  rows: readonly Item[]
  keyOf: (item: Item) => string
}) {
  const { caption, columns, rows, keyOf } = props
  return (
    <div className={styles['table-frame']}>
      <table className={styles['table']}>
        <caption className="visually-hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, align, hideTitle }) => (
              <th key={title} scope="col" className={align && styles['end']}>
                <span className={hideTitle ? 'visually-hidden' : undefined}>{title}</span>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ title, cell, align, isHead, hideTitle }) =>
                isHead ? (
                  <th key={title} scope="row" className={styles['head-cell']}>
                    {cell(row)}
                  </th>
                ) : (
                  <td key={title} data-title={hideTitle ? undefined : title} className={align && styles['end']}>
                    {cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
