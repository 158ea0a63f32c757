import { memo } from 'react'
import ReactMarkdown, { type Components, type ExtraProps } from 'react-markdown'
import rehypeSanitize from 'rehype-sanitize'
import remarkGfm from 'remark-gfm'
import { isTooMuchToParse } from './bounds.ts'
import { rehypeCitationMarks, remarkKeepMarks } from './citation-marks.ts'
import { CodeBlock, ImageText, OutsideLink, ScrollingTable } from './parts.tsx'
import type { Citations } from './markdown.tsx'
import styles from './markdown.module.css'

const REMARK = [remarkGfm, remarkKeepMarks]
const REHYPE = [rehypeSanitize, rehypeCitationMarks]

/** Headings of a text stand below those of the page. */
const COMPONENTS: Components = {
  h1: ({ children }) => <h3>{children}</h3>,
  h2: ({ children }) => <h4>{children}</h4>,
  h3: ({ children }) => <h5>{children}</h5>,
  h4: ({ children }) => <h6>{children}</h6>,
  h5: ({ children }) => <h6>{children}</h6>,
  a: ({ href, children }) => <OutsideLink href={href}>{children}</OutsideLink>,
  img: ({ src, alt }) => <ImageText src={src} alt={alt} />,
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
  table: ({ children }) => <ScrollingTable>{children}</ScrollingTable>,
  // Task lists: a box that nobody can tick is a sign, not a control.
  input: ({ checked }) => (
    <span role="img" aria-label={checked ? 'done' : 'to do'}>
      {checked ? '☑' : '☐'}
    </span>
  ),
}

/**
 * One piece of a text. Parsed again only when it changes. One that the parser cannot take, or not in time, is shown as it is.
 */
export const Block = memo(function Block({ text, citations }: { text: string; citations: Citations | undefined }) {
  const components: Components = {
    ...COMPONENTS,
    cite: ({ node }: ExtraProps) => {
      const key = Number(node?.properties['dataCitation'])
      return citations?.(key) ?? `[${key}]`
    },
  }
  const plain = <p className={styles['plain']}>{text}</p>
  if (isTooMuchToParse(text)) return plain
  try {
    // Called, not rendered: it has no state, and what it throws is caught here and not reported as a fault of the page.
    return ReactMarkdown({ children: text, components, remarkPlugins: REMARK, rehypePlugins: REHYPE, skipHtml: true })
  } catch {
    return plain
  }
})
