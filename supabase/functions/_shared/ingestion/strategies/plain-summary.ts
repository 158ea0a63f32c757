/** What a summary may have at most. */
export type SummarySize = { words: number; chars: number }

/** A summary as a model wrote it, in one line and no longer than asked for; null: nothing is left of it. */
export function plainSummary(value: unknown, { words: most, chars }: SummarySize): string | null {
  if (typeof value !== 'string') return null
  const words = value
    .slice(0, 10 * chars)
    .split(/\s+/u)
    .filter(Boolean)
  const text = words
    .slice(0, most)
    .join(' ')
    .slice(0, chars)
    .toWellFormed()
    .replace(/\ufffd$/, '')
    .trim()
  return text === '' ? null : text
}
