import { useQuery } from '@tanstack/react-query'
import { BookOpenText } from 'lucide-react'
import { useEffect, useId, useRef, useState } from 'react'
import { Link } from 'wouter'
import type { SearchResult } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { links } from '../../lib/links.ts'
import { piecesOf, unwrapped } from '../../lib/page-text.ts'
import { PageTextView } from '../../lib/page-text-view.tsx'
import { Bar, Button, ErrorNotice, ShortId, Waiting } from '../../ui/index.ts'
import { useKnowledgeBases } from '../../app/knowledge-bases.ts'
import type { Asked } from './asked.ts'
import { explanationOf } from './explanation.ts'
import { barValue, Legs } from './legs.tsx'
import { matchesIn } from './matches.ts'
import styles from './search.module.css'

/** Characters of a passage that are shown before the rest is asked for. */
const SHORT = 700

/** One passage, with what it was found by marked in it and the reasons for its place beside it. */
export function ResultCard(props: {
  result: SearchResult
  /** From 1. */
  place: number
  method: Asked['method']
  /** The best BM25 of the results. */
  bestWords: number
}) {
  const { result, place, method, bestWords } = props
  const [isPageShown, setIsPageShown] = useState(false)
  const pageId = useId()
  const bases = useKnowledgeBases()
  const base = bases.data?.find((each) => each.id === result.knowledge_base_id)
  const explanation = explanationOf(result)
  const span = { from: result.start_char, to: result.end_char }
  const path = result.meta['heading_path']
  const headings = Array.isArray(path) ? path.filter((each) => typeof each === 'string').join(' › ') : ''
  return (
    <article className={styles['result']}>
      <header className={styles['result-head']}>
        <div className={styles['result-title']}>
          <h3>
            <span className={styles['place']}>{place}</span>{' '}
            <Link href={links.document(result.source_id, span)}>
              {result.source_name ?? 'A document without a name'}
            </Link>
          </h3>
          <p className={styles['where']}>
            {[pagesText(result.pages), headings, base?.name].filter(Boolean).join(' · ')}
          </p>
        </div>
        <div className={styles['score']}>
          <Bar
            label={method === 'vector_search' ? 'Score: cosine similarity' : 'Score; the best of this search has 1'}
            value={barValue(result.score)}
            max={1}
            text={`Score ${result.score.toFixed(2)}`}
          />
        </div>
      </header>
      <div className={styles['result-body']}>
        <Passage result={result} terms={explanation.text?.terms ?? []} codes={explanation.identifier?.matched ?? []} />
        <Legs explanation={explanation} bestWords={bestWords} />
      </div>
      <footer className={styles['result-foot']}>
        <Button
          small
          icon={<BookOpenText size={15} aria-hidden />}
          aria-expanded={isPageShown}
          aria-controls={isPageShown ? pageId : undefined}
          onClick={() => setIsPageShown(!isPageShown)}
        >
          {isPageShown ? 'Hide the page' : 'Show it on its page'}
        </Button>
        <Link href={links.document(result.source_id, span)}>Open the document here</Link>
        <span className={styles['ids']}>
          Passage {result.chunk_index + 1} <ShortId id={result.chunk_id} />
        </span>
      </footer>
      {isPageShown && (
        <div id={pageId}>
          <OnItsPage result={result} />
        </div>
      )}
    </article>
  )
}

const pagesText = (pages: number[]): string =>
  pages.length === 0 ? '' : pages.length === 1 ? `page ${pages[0]}` : `pages ${pages[0]}–${pages.at(-1)}`

function Passage({ result, terms, codes }: { result: SearchResult; terms: string[]; codes: string[] }) {
  const [isWhole, setIsWhole] = useState(false)
  const matches = matchesIn(result.text, terms, codes)
  const isLong = result.text.length > SHORT * 1.2
  const end = isLong && !isWhole ? endOfWord(result.text, SHORT) : result.text.length
  const shown = unwrapped(result.text).slice(0, end)
  const hidden = matches.filter((match) => match.from >= end).length
  return (
    <div className={styles['passage']}>
      <p className={styles['text']} dir="auto">
        {piecesOf(shown, matches).map((piece, index) =>
          piece.isMarked ? <mark key={index}>{piece.text}</mark> : piece.text,
        )}
        {end < result.text.length && '…'}
      </p>
      {isLong && (
        <Button small kind="quiet" aria-expanded={isWhole} onClick={() => setIsWhole(!isWhole)}>
          {isWhole ? 'Show less' : `Show the whole passage${hidden > 0 ? `, with ${hidden} more marked` : ''}`}
        </Button>
      )}
    </div>
  )
}

/** The end of the word that stands at a place, so that neither a word nor a character is cut in two. */
const endOfWord = (text: string, from: number): number => {
  const rest = text.slice(from).search(/\s/)
  return rest === -1 || rest > 60 ? text.length : from + rest
}

function OnItsPage({ result }: { result: SearchResult }) {
  const { supabase } = useBackend()
  const source = useQuery({
    queryKey: ['search', 'source', result.source_id],
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase.schema('ai').from('sources').select('page_count').eq('id', result.source_id).abortSignal(signal),
      )[0] ?? { page_count: null },
    staleTime: 30_000,
  })
  const frame = useRef<HTMLDivElement>(null)
  const isThere = source.data !== undefined
  // It opens below what was clicked, maybe below the window.
  useEffect(() => {
    frame.current?.scrollIntoView({ block: 'nearest' })
  }, [isThere])
  if (source.error) return <ErrorNotice error={source.error} onRetry={() => void source.refetch()} />
  if (!source.data) return <Waiting small what="Opening the document" />
  return (
    <div ref={frame} className={styles['on-page']}>
      <PageTextView
        sourceId={result.source_id}
        pageCount={source.data.page_count ?? 1}
        span={{ from: result.start_char, to: result.end_char }}
      />
    </div>
  )
}
