import { FileText } from 'lucide-react'
import { useMemo } from 'react'
import { Link } from 'wouter'
import type { Citation } from '../../../../client/index.ts'
import { links } from '../../lib/links.ts'
import type { Citations } from '../../lib/markdown/markdown.tsx'
import styles from './chat.module.css'

const hrefOf = ({ source_id, meta }: Citation): string | null => {
  if (source_id === null) return null
  const { start_char: from, end_char: to } = meta
  return links.document(source_id, typeof from === 'number' && typeof to === 'number' ? { from, to } : undefined)
}

const nameOf = ({ meta }: Citation): string => meta.source_name ?? 'a document'

const pagesOf = ({ meta: { pages } }: Citation): string =>
  !pages?.length ? '' : pages.length === 1 ? `page ${pages[0]}` : `pages ${Math.min(...pages)}–${Math.max(...pages)}`

/** Draws the marks `[n]` of an answer as links to what they stand for. */
export function useCitations(citations: readonly Citation[]): Citations {
  return useMemo(() => {
    const byKey = new Map(citations.map((citation) => [citation.citation_key, citation]))
    return (key) => {
      const citation = byKey.get(key)
      const href = citation && hrefOf(citation)
      if (!citation || !href) return <span className={styles['mark']}>[{key}]</span>
      const what = [nameOf(citation), pagesOf(citation)].filter(Boolean).join(', ')
      return (
        <Link className={styles['mark'] ?? ''} href={href} title={what} aria-label={`Source ${key}: ${what}`}>
          [{key}]
        </Link>
      )
    }
  }, [citations])
}

/** What an answer rests on: each cited document with its page and the beginning of the passage. */
export function Sources({ citations }: { citations: readonly Citation[] }) {
  if (citations.length === 0) return null
  return (
    <section className={styles['sources']} aria-label="Sources of this answer">
      <h3>Sources</h3>
      <ol>
        {citations.map((citation) => {
          const href = hrefOf(citation)
          const head = (
            <>
              <span className={styles['source-key']}>[{citation.citation_key}]</span>
              <FileText size={14} aria-hidden />
              <span className={styles['source-name']}>{nameOf(citation)}</span>
              <span className={styles['source-page']}>{href ? pagesOf(citation) : 'deleted since'}</span>
            </>
          )
          return (
            <li key={citation.citation_key}>
              {href ? (
                <Link className={styles['source'] ?? ''} href={href}>
                  <span className={styles['source-head']}>{head}</span>
                  <span className={styles['excerpt']}>{citation.text_excerpt}</span>
                </Link>
              ) : (
                <span className={styles['source']}>
                  <span className={styles['source-head']}>{head}</span>
                </span>
              )}
            </li>
          )
        })}
      </ol>
    </section>
  )
}
