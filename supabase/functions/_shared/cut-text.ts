/** The beginning of a text, at most `limit` UTF-16 code units and never half of a surrogate pair. */
export const cutText = (text: string, limit: number): string =>
  text.slice(0, Math.max(limit, 0)).replace(/[\uD800-\uDBFF]$/, '')
