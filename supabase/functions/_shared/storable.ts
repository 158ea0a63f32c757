/**
 * The same JSON value with U+FFFD for what Postgres cannot store, in keys too: U+0000 and halves of surrogate pairs. A model
 * may write them; they must not keep its run from being recorded.
 */
export function storable<T>(value: T): T {
  // JSON.stringify escapes exactly these; an escaped backslash is matched first, so that what follows it is left alone.
  const text = JSON.stringify(value).replace(/\\\\|\\u0000|\\ud[89a-f][0-9a-f]{2}/g, (escape) =>
    escape === '\\\\' ? escape : '\ufffd',
  )
  return JSON.parse(text) as T
}
