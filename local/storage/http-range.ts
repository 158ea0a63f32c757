/** Bytes `start` to `end`, both included. */
export type ByteRange = { start: number; end: number }

/**
 * The range a request asks for: 'all' without a range we serve (several ranges and other units are ignored, as HTTP
 * allows), 'unsatisfiable' when it lies outside.
 */
export function requestedRange(
  header: string | null | undefined,
  sizeBytes: number,
): ByteRange | 'all' | 'unsatisfiable' {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'all'
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes)
    return length === 0 ? 'unsatisfiable' : { start: sizeBytes - length, end: sizeBytes - 1 }
  }
  const start = Number(first)
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1)
  if (last !== '' && Number(last) < start) return 'all'
  return start >= sizeBytes ? 'unsatisfiable' : { start, end }
}

/** What the conditional headers of a read decide, in the order RFC 9110 section 13.2.2 gives them. */
export function evaluateConditions(
  headers: Headers,
  { eTag, lastModified }: { eTag: string; lastModified: string },
): 'proceed' | 'not-modified' | 'failed' {
  const modified = Math.floor(Date.parse(lastModified) / 1000) * 1000
  const ifMatch = headers.get('if-match')
  const ifUnmodified = dateOf(headers.get('if-unmodified-since'))
  if (ifMatch !== null) {
    if (!matches(ifMatch, eTag)) return 'failed'
  } else if (ifUnmodified !== undefined && modified > ifUnmodified) return 'failed'

  const ifNoneMatch = headers.get('if-none-match')
  const ifModified = dateOf(headers.get('if-modified-since'))
  if (ifNoneMatch !== null) return matches(ifNoneMatch, eTag) ? 'not-modified' : 'proceed'
  return ifModified !== undefined && modified <= ifModified ? 'not-modified' : 'proceed'
}

/** The Range header, unless If-Range says that it was meant for other bytes. */
export function applicableRange(headers: Headers, eTag: string): string | null {
  const ifRange = headers.get('if-range')
  return ifRange !== null && ifRange !== eTag ? null : headers.get('range')
}

function matches(list: string, eTag: string): boolean {
  const bare = (tag: string) => tag.trim().replace(/^W\//, '').replace(/^"|"$/g, '')
  return list.split(',').some((tag) => tag.trim() === '*' || bare(tag) === bare(eTag))
}

function dateOf(header: string | null): number | undefined {
  const time = Date.parse(header ?? '')
  return Number.isNaN(time) ? undefined : time
}
