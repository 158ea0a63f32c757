/** Takes credentials out of a text that comes from somewhere they were sent to. */

const MASK = '***'
/** Shorter strings are found in any text; nothing this short is a credential. */
const MIN_CHARS = 6
/** The same for a piece of a longer one, which may be an ordinary word. */
const MIN_PIECE_CHARS = 12
/** Characters of a credential at the very end of a cut text from which on it counts as one. */
const MIN_TAIL_CHARS = 8

const base64 = (text: string) => btoa(String.fromCodePoint(...new TextEncoder().encode(text))).replace(/=+$/, '')

/** How a credential may come back: as it is, in JSON, in a URL or form, in base64, or in part (`Bearer <token>`). */
function formsOf(secret: string): string[] {
  const parts = [secret, secret.replace(/^[A-Za-z]+\s+/, '')]
  parts.push(...secret.split(/[\s,;=]+/).filter((piece) => piece.length >= MIN_PIECE_CHARS))
  const basic = /^Basic\s+([A-Za-z0-9+/=]+)$/i.exec(secret)?.[1]
  if (basic !== undefined) {
    try {
      const decoded = atob(basic)
      parts.push(decoded, decoded.slice(decoded.indexOf(':') + 1))
    } catch {
      // Not base64: then there is nothing behind it.
    }
  }
  return parts
    .filter((part) => part.length >= MIN_CHARS)
    .flatMap((part) => {
      const inJson = JSON.stringify(part).slice(1, -1)
      const inUrl = encodeURIComponent(part)
      return [part, inJson, inJson.replaceAll('/', '\\/'), inUrl, inUrl.replaceAll('%20', '+'), base64(part)]
    })
}

/**
 * Makes a function that replaces these credentials by `***`, in the forms in which they usually come back, also where the
 * end of the text cuts one off.
 */
export function createMask(secrets: readonly string[]): (text: string) => string {
  // The longest first: a part must not be taken out of a whole.
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((a, b) => b.length - a.length)
  return (text) => {
    let masked = text
    for (const form of forms) masked = masked.replaceAll(form, MASK)
    for (const form of forms) {
      for (let length = form.length - 1; length >= MIN_TAIL_CHARS; length--) {
        if (!masked.endsWith(form.slice(0, length))) continue
        masked = masked.slice(0, -length) + MASK
        break
      }
    }
    return masked
  }
}
