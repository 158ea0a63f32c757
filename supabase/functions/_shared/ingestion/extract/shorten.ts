/**
 * At most `length` UTF-16 units from the begin of a text, and no half of a surrogate pair: Postgres refuses those. As `cutText`,
 * which the process that extracts cannot read: of ours it may open files of `ingestion` only.
 */
export function shorten(text: string, length: number): string {
  if (text.length <= length) return text
  const last = text.charCodeAt(length - 1)
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length)
}
