import { useQuery, useQueryClient } from '@tanstack/react-query'
import { ChevronLeft, ChevronRight } from 'lucide-react'
import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react'
import { useBackend, type Supabase } from '../app/backend.ts'
import { Button, ErrorNotice, Notice, Waiting } from '../ui/index.ts'
import { findSpan, readPage } from './page-text-data.ts'
import { piecesOf, unwrapped, type PageSpan, type Span } from './page-text.ts'
import styles from './page-text.module.css'

type ViewProps = {
  sourceId: string
  /** How many pages the source has. */
  pageCount: number
  /** What is marked; the view opens at the page it begins on. */
  span?: Span | undefined
  /** Puts the focus on what is marked, for who has come here to see it. */
  focusSpan?: boolean
}

/** The extracted text of a source, a page at a time. Whatever stands in it is text: nothing is interpreted. */
export function PageTextView(props: ViewProps) {
  const { supabase } = useBackend()
  const { sourceId, span } = props
  const spans = useQuery({
    queryKey: ['page-text', sourceId, 'span', span?.from, span?.to],
    queryFn: ({ signal }) => (span ? findSpan(supabase, sourceId, span, signal) : []),
    enabled: span !== undefined,
    staleTime: 60_000,
  })
  if (!span) return <Pages {...props} spans={[]} />
  if (spans.error) return <ErrorNotice error={spans.error} onRetry={() => void spans.refetch()} />
  if (!spans.data) return <Waiting what="Looking for the passage" />
  return (
    <>
      {spans.data.length === 0 && (
        <Notice tone="warn">The passage is not there any more: the text was extracted anew since it was cited.</Notice>
      )}
      <Pages key={`${span.from}-${span.to}`} {...props} spans={spans.data} />
    </>
  )
}

const pageQuery = (supabase: Supabase, sourceId: string, page: number) => ({
  queryKey: ['page-text', sourceId, 'page', page],
  queryFn: ({ signal }: { signal: AbortSignal }) => readPage(supabase, sourceId, page, signal),
  staleTime: 60_000,
})

function Pages({ sourceId, pageCount, spans, focusSpan }: ViewProps & { spans: PageSpan[] }) {
  const { supabase } = useBackend()
  const queryClient = useQueryClient()
  const first = spans[0]?.page ?? 1
  const [page, setPage] = useState(first)
  const total = Math.max(pageCount, first)
  const query = useQuery(pageQuery(supabase, sourceId, page))

  useEffect(() => {
    if (page < total) void queryClient.prefetchQuery(pageQuery(supabase, sourceId, page + 1))
  }, [page, total, sourceId])

  const turn = (to: number) => setPage(Math.min(Math.max(to, 1), total))
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target instanceof HTMLInputElement) return
    const to = { ArrowLeft: page - 1, ArrowRight: page + 1 }[event.key]
    if (to === undefined) return
    event.preventDefault()
    turn(to)
  }
  const here = spans.filter((each) => each.page === page)
  return (
    <div className={styles['view']} onKeyDown={onKeyDown}>
      {total > 1 && (
        <nav className={styles['bar']} aria-label="Pages of the document">
          <Button
            small
            icon={<ChevronLeft size={16} aria-hidden />}
            disabled={page <= 1}
            onClick={() => turn(page - 1)}
            aria-label="Previous page"
          >
            Previous
          </Button>
          <PageNumber page={page} total={total} onTurn={turn} />
          <Button small disabled={page >= total} onClick={() => turn(page + 1)} aria-label="Next page">
            Next <ChevronRight size={16} aria-hidden />
          </Button>
          {spans.length > 0 && here.length === 0 && (
            <Button small kind="quiet" onClick={() => turn(first)}>
              Back to the passage
            </Button>
          )}
        </nav>
      )}
      {query.error ? (
        <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />
      ) : query.data === undefined ? (
        <Waiting what={`Reading page ${page}`} />
      ) : (
        <PageText
          key={page}
          page={page}
          text={unwrapped(query.data?.text ?? '')}
          spans={here}
          focus={focusSpan === true && page === first}
        />
      )}
      {here.some((each) => spans.at(-1)?.page !== each.page) && (
        <p className={styles['note']}>The passage goes on on the next page.</p>
      )}
    </div>
  )
}

function PageNumber({ page, total, onTurn }: { page: number; total: number; onTurn: (to: number) => void }) {
  const [typed, setTyped] = useState<string | null>(null)
  const id = useId()
  const go = () => {
    const to = Number(typed)
    if (typed !== null && Number.isInteger(to) && to >= 1) onTurn(to)
    setTyped(null)
  }
  return (
    <form
      className={styles['number']}
      onSubmit={(event) => {
        event.preventDefault()
        go()
      }}
    >
      <label htmlFor={id}>Page</label>
      <input
        id={id}
        className={styles['input']}
        inputMode="numeric"
        value={typed ?? String(page)}
        onChange={(event) => setTyped(event.currentTarget.value)}
        onFocus={(event) => event.currentTarget.select()}
        onBlur={go}
      />
      <span>of {total}</span>
      <span className="visually-hidden" role="status">
        Page {page} of {total}
      </span>
    </form>
  )
}

function PageText({ page, text, spans, focus }: { page: number; text: string; spans: Span[]; focus: boolean }) {
  const frame = useRef<HTMLElement>(null)
  const mark = useRef<HTMLElement>(null)
  useEffect(() => {
    const [outer, inner] = [frame.current, mark.current]
    if (!outer || !inner) return
    // Only the frame is moved: what the person looks at on the page stays where it is.
    const distance = inner.getBoundingClientRect().top - outer.getBoundingClientRect().top
    outer.scrollTop += distance - outer.clientHeight / 4
    if (!focus) return
    inner.focus({ preventScroll: true })
    outer.scrollIntoView({ block: 'nearest' })
  }, [focus, page])
  const pieces = piecesOf(text, spans)
  const firstMarked = pieces.findIndex((piece) => piece.isMarked)
  return (
    <section ref={frame} className={styles['page']} aria-label={`Text of page ${page}`} tabIndex={0} dir="auto">
      {text === '' ? (
        <em className={styles['note']}>There is no text on this page.</em>
      ) : (
        pieces.map((piece, index) =>
          piece.isMarked ? (
            <mark
              key={index}
              className={styles['mark']}
              {...(index === firstMarked ? { ref: mark, tabIndex: -1 } : {})}
            >
              {piece.text}
            </mark>
          ) : (
            piece.text
          ),
        )
      )}
    </section>
  )
}
