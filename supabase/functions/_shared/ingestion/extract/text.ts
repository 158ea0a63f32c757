import { decodeText } from './decode-text.ts'
import type { Extraction } from './extraction.ts'
import { unsupported } from './failure.ts'
import { paginate } from './paginate.ts'
import { sanitizeText } from './sanitize.ts'

/** Plain text, and every format that is text without being one of ours (JSON, XML, e-mail), as it stands. */
export function extractText(bytes: Uint8Array): Extraction {
  const decoded = decodeText(bytes)
  if (!decoded) throw unsupported('This type of file')
  return { pages: paginate(sanitizeText(decoded.text)), metadata: { encoding: decoded.encoding } }
}
