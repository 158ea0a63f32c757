import { lazy, Suspense, type ReactNode } from 'react'
import styles from './markdown.module.css'

/** Draws what a mark `[n]` stands for; null leaves the mark as text. The same function while nothing changes. */
export type Citations = (key: number) => ReactNode

export type MarkdownProps = { text: string; citations?: Citations | undefined }

const MarkdownText = lazy(() => import('./text.tsx'))

/**
 * Markdown that a model or a document has written, i.e. anybody: no HTML, no images, nothing that is fetched, and links that
 * say where they go to. The parser is loaded when it is first needed; until then the text is shown as it is.
 */
export function Markdown(props: MarkdownProps) {
  return (
    <Suspense fallback={<p className={styles['plain']}>{props.text}</p>}>
      <MarkdownText {...props} />
    </Suspense>
  )
}
