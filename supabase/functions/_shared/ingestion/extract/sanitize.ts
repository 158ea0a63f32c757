import { shorten } from './shorten.ts'

const LONE_SURROGATES = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g
// All of C0 but tab and line feed, and DEL. Postgres refuses NUL; the others only disturb search and display.
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000B\u000E-\u001F\u007F]/g
// Tried at the begin of each run of blanks only: tried at every blank, it takes quadratic time on a long run.
const TRAILING_BLANKS = /(?<![^\S\n])[^\S\n]+\n/g

/**
 * Text that Postgres can store and a person can read: no NUL, no other control characters, no lone surrogates, `\n` as the
 * only line end, no trailing blanks, at most one empty line in a row, nothing around it.
 */
export function sanitizeText(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/[\f\u2028\u2029]/g, '\n')
    .replace(LONE_SURROGATES, '')
    .replace(CONTROLS, '')
    .replace(/\uFEFF/g, '')
    .replace(TRAILING_BLANKS, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .replace(/^\n+/, '')
    .trimEnd()
}

const TITLE_LENGTH = 300

/** The title that a document gives itself, as one line of at most 300 characters; the same holds for it as for its text. */
export const sanitizeTitle = (text: string): string => shorten(sanitizeText(text).replace(/\s+/g, ' '), TITLE_LENGTH)
