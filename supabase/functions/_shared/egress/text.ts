import type { EgressResponse } from './types.ts'

const TEXT_TYPE =
  /^(?:text\/|application\/(?:json|xml|javascript|ecmascript|x-ndjson|jsonl|yaml|x-yaml|toml|graphql|x-www-form-urlencoded|problem\+)|[^;]+\+(?:json|xml|yaml)\b)/i
const UTF_16 = /^utf-?16/i
/** Bytes in which a NUL gives away what is no text. */
const SNIFFED_BYTES = 4096

/** What a reader does not see but a model does, and what cannot be stored: controls, direction marks, tags, odd selectors. */
const INVISIBLE = /(?![\t\n])\p{Cc}|[\u200b\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069]|[\u{e0000}-\u{e0fff}]/gu

/** Text as it may enter a conversation and a table: well-formed, line ends as `\n`, nothing invisible. */
export const cleanText = (text: string): string => text.replace(/\r\n?/g, '\n').replace(INVISIBLE, '').toWellFormed()

/** The media type of an answer, in lower case and without parameters; empty when it has none. */
export const mediaType = (answer: Pick<EgressResponse, 'headers'>): string =>
  (answer.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''

/** The charset that a Content-Type names. */
export const charsetInHeader = (contentType: string): string | undefined =>
  /;\s*charset="?([\w-]{1,40})/i.exec(contentType)?.[1]

/** The charset that HTML or XML names itself, where it begins. */
export const charsetInPage = (bytes: Uint8Array): string | undefined =>
  /<meta[^>]{1,200}charset=["']?([\w-]{1,40})|<\?xml[^>]{1,200}encoding=["']([\w-]{1,40})/i
    .exec(new TextDecoder('latin1').decode(bytes.subarray(0, SNIFFED_BYTES)))
    ?.slice(1)
    .find(Boolean)

/** The charset named by a Content-Type or, for HTML, by the page itself. */
function charsetOf(answer: EgressResponse): string {
  const isPage = /html|xml/.test(mediaType(answer))
  const declared = charsetInHeader(answer.headers.get('content-type') ?? '')
  return declared ?? (isPage ? charsetInPage(answer.body) : undefined) ?? 'utf-8'
}

function decoderFor(charset: string): TextDecoder {
  try {
    return new TextDecoder(charset)
  } catch {
    return new TextDecoder()
  }
}

/** The body of an answer as text, in the encoding that it names; what does not fit it becomes U+FFFD. */
export const decodedText = (answer: EgressResponse): string => decoderFor(charsetOf(answer)).decode(answer.body)

/** The body of an answer as clean text, or null when it is none, whatever its Content-Type claims. */
export function readableText(answer: EgressResponse): string | null {
  const type = mediaType(answer)
  if (type !== '' && !TEXT_TYPE.test(type)) return null
  const charset = charsetOf(answer)
  if (!UTF_16.test(charset) && answer.body.subarray(0, SNIFFED_BYTES).includes(0)) return null
  return cleanText(decodedText(answer))
}

/** The text, cut to `max` characters with a note that says so; a pair of surrogates is never halved. */
export function clip(text: string, max: number): string {
  if (text.length <= max) return text
  const note = `\n[Cut off: only the beginning is shown.]`
  return (
    text
      .slice(0, max - note.length)
      .toWellFormed()
      .replace(/\ufffd$/, '') + note
  )
}
