import { Check, Copy, ExternalLink } from 'lucide-react'
import { useRef, useState, type ReactNode } from 'react'
import styles from './markdown.module.css'

/** The address of a link that may be followed; null for `javascript:`, `data:`, relative addresses and the like. */
export function followableAddress(href: string | undefined): URL | null {
  if (!href || !URL.canParse(href)) return null
  const url = new URL(href)
  return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url : null
}

/**
 * A link out of the console says so, and where it goes to: its text may be anybody's, also one that turns the direction of writing,
 * which ends with it. What cannot be followed is text.
 */
export function OutsideLink({ href, children }: { href?: string | undefined; children?: ReactNode }) {
  const url = followableAddress(href)
  if (!url) return <span>{children}</span>
  const target = url.protocol === 'mailto:' ? url.pathname : url.host
  return (
    <a className={styles['outside']} href={url.href} target="_blank" rel="noopener noreferrer nofollow">
      <bdi>{children}</bdi>
      <span className={styles['host']}>
        {' '}
        (<bdi>{target}</bdi>)
      </span>
      <ExternalLink size={12} aria-hidden />
      <span className="visually-hidden"> external link, opens in a new tab</span>
    </a>
  )
}

/** Images are never loaded: an address that is fetched tells its owner what the text told it to. */
export function ImageText({ src, alt }: { src?: unknown; alt?: string | undefined }) {
  return (
    <span className={styles['image']}>
      [image{alt ? `: ${alt}` : ''}]{typeof src === 'string' && src !== '' && <span> {src}</span>}
    </span>
  )
}

/** Code as it is, with a button that copies it. */
export function CodeBlock({ children }: { children?: ReactNode }) {
  const pre = useRef<HTMLPreElement>(null)
  const [isCopied, setIsCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard?.writeText(pre.current?.textContent ?? '').catch(() => undefined)
    setIsCopied(true)
    setTimeout(() => setIsCopied(false), 1_500)
  }
  return (
    <div className={styles['code-block']}>
      <pre ref={pre} tabIndex={0} aria-label="Code">
        {children}
      </pre>
      <button type="button" className={styles['copy']} onClick={() => void copy()}>
        {isCopied ? <Check size={13} aria-hidden /> : <Copy size={13} aria-hidden />}
        {isCopied ? 'Copied' : 'Copy'}
        <span className="visually-hidden"> the code</span>
      </button>
    </div>
  )
}

/** A table that is wider than the text scrolls by itself. */
export function ScrollingTable({ children }: { children?: ReactNode }) {
  return (
    <div className={styles['table']} role="region" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  )
}
