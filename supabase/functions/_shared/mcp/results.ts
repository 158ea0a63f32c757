import { cutText } from '../cut-text.ts'

/** Characters of a result that a model gets. */
export const MAX_RESULT_CHARS = 50_000
const MAX_NOTE_CHARS = 200
/** Shorter header values are no secrets, e.g. a version, and would be found in any text. */
const MIN_SECRET_CHARS = 8
const MASK = '***'

/** The password in the credentials of Basic authentication; nothing when they are none. */
function passwordIn(credentials: string): string[] {
  try {
    const [, password] = /^[^:]*:(.+)$/s.exec(atob(credentials)) ?? []
    return password === undefined ? [] : [password]
  } catch {
    return []
  }
}

/** What must not come back, from the headers that a server is sent: each value, and what is behind `Bearer` or `Basic`. */
export function secretsOf(headers: Readonly<Record<string, string>>): string[] {
  return Object.values(headers).flatMap((header) => {
    const value = header.trim()
    const [, scheme, credentials] = /^(\S+)\s+(\S+)$/.exec(value) ?? []
    if (scheme === undefined || credentials === undefined) return [value]
    return [value, credentials, ...(scheme.toLowerCase() === 'basic' ? passwordIn(credentials) : [])]
  })
}

function base64(text: string): string {
  const bytes = new TextEncoder().encode(text)
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')).replace(/=+$/, '')
}

/**
 * The text with every secret replaced, also as it stands in JSON, in a URL or in base64. A server that means harm can hide
 * what it knows in other ways; this is against those that only repeat what they were sent.
 */
export function maskSecrets(text: string, secrets: readonly string[]): string {
  const forms = secrets
    .filter((secret) => secret.length >= MIN_SECRET_CHARS)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), base64(secret)])
  // Longest first: one may be a part of another.
  const ordered = [...new Set(forms)].toSorted((left, right) => right.length - left.length)
  return ordered.reduce((masked, form) => masked.replaceAll(form, MASK), text)
}

/** At most `limit` characters, saying so when that is not all. */
export function cut(text: string, limit: number): string {
  if (text.length <= limit) return text
  const note = `\n[cut: ${text.length} characters in all]`
  return cutText(text, limit - note.length) + note
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const short = (value: unknown): string =>
  (typeof value === 'string' ? value : '?').replace(/\p{C}/gu, '?').slice(0, MAX_NOTE_CHARS)

const sizeOf = (data: unknown): string =>
  typeof data === 'string' ? `, about ${Math.ceil((data.length * 3) / 4)} bytes` : ''

/** One block of a result as text: what is no text is told of. */
function blockText(block: unknown): string {
  if (!isRecord(block)) return '[something that is not known here]'
  switch (block['type']) {
    case 'text':
      return typeof block['text'] === 'string' ? block['text'] : ''
    case 'image':
    case 'audio':
      return `[${block['type']}: ${short(block['mimeType'])}${sizeOf(block['data'])}, not shown]`
    case 'resource_link':
      return `[resource: ${short(block['uri'])}]`
    case 'resource': {
      const resource = isRecord(block['resource']) ? block['resource'] : {}
      const note = `[resource: ${short(resource['uri'])}${sizeOf(resource['blob'])}]`
      return typeof resource['text'] === 'string' ? `${note}\n${resource['text']}` : note
    }
    default:
      return `[${short(block['type'])}: not shown]`
  }
}

/** The text of a `CallToolResult`, whole and unmasked; null when the value is none. */
export function resultText(result: unknown): { text: string; isError: boolean } | null {
  if (!isRecord(result)) return null
  const { content = [], structuredContent, isError } = result
  if (!Array.isArray(content)) return null
  // Servers that have a structured result are to send it as text too; some do not.
  const structured = content.length === 0 && isRecord(structuredContent) ? JSON.stringify(structuredContent) : ''
  return { text: content.map(blockText).join('\n') || structured || '(no content)', isError: isError === true }
}
