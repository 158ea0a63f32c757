import type { Corpus } from './corpus.ts'
import { at } from './layout.ts'
import type { Query } from './queries.ts'

/** Rows by the identifiers in them, as a search compares these: without their dashes. */
export type RowsOfCode = Map<string, number[]>

/**
 * How often the best search that knows nothing but the typed identifier has the chunk it was taken from in its first `count`:
 * chunks with that identifier come first, then those with one an edit away, and of those that are as near each is as likely.
 * The queries have an identifier, right or with one mistake.
 */
export function attainableHits(corpus: Corpus, queries: Query[], count: number): number {
  const ofTenant = new Map<number, RowsOfCode>()
  let sum = 0
  for (const query of queries) {
    const known = ofTenant.get(query.tenant) ?? rowsOfCodes(corpus, query.tenant)
    ofTenant.set(query.tenant, known)
    sum += chanceInFirst(count, query.text.slice(query.text.lastIndexOf(' ') + 1), query.target, known)
  }
  return sum / queries.length
}

/** How likely the row is among the first `count` when the nearest to what was typed come first and equals in any order. */
export function chanceInFirst(count: number, typed: string, target: number, rowsOfCode: RowsOfCode): number {
  const code = withoutJoints(typed)
  const exact = new Set(rowsOfCode.get(code))
  if (exact.has(target)) return Math.min(1, count / exact.size)
  const near = new Set<number>()
  for (const [other, rows] of rowsOfCode) {
    if (isOneEditAway(code, other)) for (const row of rows) if (!exact.has(row)) near.add(row)
  }
  return near.has(target) ? Math.min(1, Math.max(0, count - exact.size) / near.size) : 0
}

/** Whether one character is wrong, missing or additional, or two that follow one another are exchanged. */
export function isOneEditAway(one: string, other: string): boolean {
  if (one.length > other.length) return isOneEditAway(other, one)
  if (one === other || other.length - one.length > 1) return false
  let same = 0
  while (same < one.length && one[same] === other[same]) same++
  if (other.length > one.length) return one.slice(same) === other.slice(same + 1)
  if (one.slice(same + 1) === other.slice(same + 1)) return true
  return one[same] === other[same + 1] && one[same + 1] === other[same] && one.slice(same + 2) === other.slice(same + 2)
}

function rowsOfCodes(corpus: Corpus, tenant: number): RowsOfCode {
  const rowsOfCode: RowsOfCode = new Map()
  for (const row of at(corpus.rowsOfTenant, tenant)) {
    for (const code of corpus.chunkOf(row).codes.map(withoutJoints)) {
      const rows = rowsOfCode.get(code)
      if (rows) rows.push(row)
      else rowsOfCode.set(code, [row])
    }
  }
  return rowsOfCode
}

const withoutJoints = (code: string): string => code.replaceAll('-', '')
