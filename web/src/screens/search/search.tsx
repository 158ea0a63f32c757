import { useQuery } from '@tanstack/react-query'
import { Search as SearchIcon } from 'lucide-react'
import { useEffect, useRef } from 'react'
import { Link, useLocation, useRoute } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { Button, Copyable, EmptyState, ErrorNotice, Notice, PageHeader, Stack, Waiting } from '../../ui/index.ts'
import { type Asked, askedIn, NOTHING_ASKED, routeOf } from './asked.ts'
import { ResultCard } from './result-card.tsx'
import { SearchForm } from './search-form.tsx'
import styles from './search.module.css'

/** Search as the person may, with the reasons for each result drawn. */
export default function Search() {
  const [, params] = useRoute('/q/:query/:options?')
  const [, navigate] = useLocation()
  const asked = askedIn(params?.query, params?.options)
  const ask = (next: Asked) => navigate(routeOf(next))
  return (
    <>
      <PageHeader
        title="Search"
        description="What agents find for you: passages of the documents you may see, ranked by meaning, words and identifiers."
      />
      <Stack>
        <SearchForm asked={asked} onAsk={ask} />
        {asked.query.trim() === '' ? (
          <Examples onTry={(query) => ask({ ...NOTHING_ASKED, query })} />
        ) : (
          <Results asked={asked} />
        )}
      </Stack>
    </>
  )
}

function Results({ asked }: { asked: Asked }) {
  const { bulkhead } = useBackend()
  const heading = useRef<HTMLHeadingElement>(null)
  const answer = useQuery({
    queryKey: ['search', asked],
    queryFn: ({ signal }) => {
      const { query, knowledgeBaseIds, method, fusion, vectorWeight, topK, rerank, maxPerSource, deduplicate } = asked
      return bulkhead.searchWithContext({
        query,
        method,
        topK,
        explain: true,
        signal,
        ...(knowledgeBaseIds.length > 0 ? { knowledgeBaseIds } : {}),
        ...(method === 'hybrid' ? { fusion } : {}),
        ...(method === 'hybrid' && vectorWeight !== null ? { vectorWeight } : {}),
        ...(rerank === null ? {} : { rerank }),
        ...(maxPerSource === null ? {} : { maxPerSource }),
        ...(deduplicate ? { deduplicate } : {}),
      })
    },
    // What is found holds for the moment it was asked.
    staleTime: Infinity,
    gcTime: 60_000,
    refetchOnWindowFocus: false,
  })
  const { data } = answer
  useEffect(() => {
    if (data && data.results.length > 0) heading.current?.scrollIntoView?.({ block: 'nearest' })
  }, [data])

  if (answer.error) return <ErrorNotice error={answer.error} onRetry={() => void answer.refetch()} />
  if (!data) return <Waiting what="Searching" />
  const { results, warnings = [], models, reranker } = data
  const bestWords = Math.max(0, ...results.map((result) => result.text_score ?? 0))
  return (
    <>
      {warnings.map((warning) => (
        <Notice key={warning} tone="warn">
          {warning}
        </Notice>
      ))}
      {results.length === 0 ? (
        <NothingFound asked={asked} />
      ) : (
        <>
          <div className={styles['summary']}>
            <h2 ref={heading} role="status">
              {results.length === 1 ? '1 passage' : `${results.length} passages`}
            </h2>
            <p>
              {models.length > 0 ? `Meaning compared by ${models.join(', ')}` : 'Meaning was not compared'}
              {reranker && `; put in order by ${reranker}`} · Request <Copyable value={data.request_id} />
            </p>
          </div>
          <ol className={styles['results']}>
            {results.map((result, index) => (
              <li key={result.chunk_id}>
                <ResultCard result={result} place={index + 1} method={asked.method} bestWords={bestWords} />
              </li>
            ))}
          </ol>
        </>
      )}
    </>
  )
}

const EXAMPLES = [
  [
    'A question',
    'What does a berth cost after six hours?',
    'Ranked, not required: it finds passages with some of its words or its meaning.',
  ],
  ['“A phrase”', '"free of charge" berth', 'What is in double quotes must stand next to each other.'],
  ['An exclusion', 'berth -invoice', 'A word after a minus sign must not stand in the passage.'],
  [
    'An identifier',
    'INV-2024-00812',
    'Numbers of invoices, parts and the like: with or without dashes, and with one mistyped character.',
  ],
] as const

function Examples({ onTry }: { onTry: (query: string) => void }) {
  return (
    <EmptyState title="Ask for what you want to find" icon={<SearchIcon size={40} aria-hidden />}>
      <p>Each result says why it was found. You can type</p>
      <dl className={styles['examples']}>
        {EXAMPLES.map(([what, query, told]) => (
          <div key={what}>
            <dt>{what}</dt>
            <dd>
              <Button small kind="quiet" onClick={() => onTry(query)}>
                {query}
              </Button>
              <p>{told}</p>
            </dd>
          </div>
        ))}
      </dl>
    </EmptyState>
  )
}

function NothingFound({ asked }: { asked: Asked }) {
  const hints = [
    /["“”]/.test(asked.query) && 'Leave out the quotes: a phrase must stand there word for word.',
    /(^|\s)-\S/.test(asked.query) && 'Leave out the excluded words: one of them may stand in every passage.',
    asked.knowledgeBaseIds.length > 0 && 'Search all knowledge bases.',
    asked.method === 'full_text' && 'Search by meaning as well: the words alone may be others in the text.',
    'Use other words for the same thing, or the number it is known by.',
  ].filter((hint) => hint !== false)
  return (
    <EmptyState title="Nothing was found" icon={<SearchIcon size={40} aria-hidden />}>
      <p role="status">No passage of what you may see matches.</p>
      <ul className={styles['hints']}>
        {hints.map((hint) => (
          <li key={hint}>{hint}</li>
        ))}
        <li>
          Look under <Link href="~/documents">Documents</Link> whether everything is indexed by now.
        </li>
      </ul>
    </EmptyState>
  )
}
