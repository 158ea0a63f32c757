/** The characters from `start` to `end` (exclusive) of a document, in UTF-16 units. */
export type Span = { start: number; end: number }

/** Shares of characters, each from 0 to 1. */
export type SpanScore = {
  /** Of the answers' characters, those that were returned. */
  recall: number
  /** Of the returned characters, those that belong to an answer. */
  precision: number
  /** Characters that are both, of those that are either: intersection over union. */
  iou: number
}

/** The first spans of a ranking, until they have `total` characters together; the last one is cut to fit. */
export function takeCharacters(ranked: Span[], total: number): Span[] {
  const taken: Span[] = []
  let left = total
  for (const { start, end } of ranked) {
    if (left <= 0) break
    taken.push({ start, end: Math.min(end, start + left) })
    left -= end - start
  }
  return taken
}

/** The same characters as spans that neither overlap nor touch, in the order of the document. */
export function disjoint(spans: Span[]): Span[] {
  const merged: Span[] = []
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1)
    if (last && start <= last.end) last.end = Math.max(last.end, end)
    else merged.push({ start, end })
  }
  return merged
}

/** Number of characters that are in at least one of the spans. */
export const lengthOf = (spans: Span[]): number =>
  disjoint(spans).reduce((total, { start, end }) => total + end - start, 0)

/** How well the returned characters cover the answers. What is returned twice counts once. */
export function scoreSpans(returned: Span[], answers: Span[]): SpanScore {
  const returnedLength = lengthOf(returned)
  const answerLength = lengthOf(answers)
  const both = returnedLength + answerLength - lengthOf([...returned, ...answers])
  return {
    recall: both / answerLength,
    precision: returnedLength === 0 ? 0 : both / returnedLength,
    iou: both / (returnedLength + answerLength - both),
  }
}
