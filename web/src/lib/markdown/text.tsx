import { useDeferredValue, useMemo } from 'react'
import { Block } from './block.tsx'
import type { MarkdownProps } from './markdown.tsx'
import styles from './markdown.module.css'
import { blocksOf } from './split.ts'

/** The text, piece by piece. Of one that grows faster than it can be drawn, some states are left out. */
export default function MarkdownText({ text, citations }: MarkdownProps) {
  const shown = useDeferredValue(text)
  const blocks = useMemo(() => blocksOf(shown), [shown])
  return (
    <div className={styles['text']}>
      {blocks.map((block, at) => (
        <Block key={at} text={block} citations={citations} />
      ))}
    </div>
  )
}
