import { Button } from './button.tsx'
import { Row } from './layout.tsx'

/** Earlier and later pages of a list; nothing when one page is all. `offset` counts rows from 0. */
export function Pager(props: {
  offset: number
  pageSize: number
  shown: number
  total?: number | null
  onOffset: (offset: number) => void
}) {
  const { offset, pageSize, shown, total, onOffset } = props
  const hasMore = total == null ? shown === pageSize : offset + shown < total
  if (offset === 0 && !hasMore) return null
  return (
    <nav aria-label="Pages of the list">
      <Row>
        <Button small disabled={offset === 0} onClick={() => onOffset(Math.max(0, offset - pageSize))}>
          Back
        </Button>
        <span>
          {offset + 1}–{offset + shown}
          {total != null && ` of ${total}`}
        </span>
        <Button small disabled={!hasMore} onClick={() => onOffset(offset + pageSize)}>
          Further
        </Button>
      </Row>
    </nav>
  )
}
