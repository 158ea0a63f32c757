/**
 * Secret headers of tools and MCP servers, encrypted before they reach the database. A ciphertext opens only as what it was
 * sealed as: copied to another row, another tenant or another host it is worth nothing.
 */
import { base64url } from 'jose'
import type { Env } from './env.ts'
import { optional } from './env.ts'
import { AppError } from './errors.ts'
import { parseSigningJwk } from './signing-key.ts'

/** What secret headers belong to. All of it is bound to the ciphertext. */
export type SecretContext = {
  tenantId: string
  kind: 'tool' | 'mcp_server'
  /** Id of the row. */
  id: string
  /** Whom they are sent to, as `secretHost` gives it. */
  host: string
}

export type SecretBox = {
  /**
   * Encrypts headers for storage.
   * @throws AppError `invalid_request` when they are no headers, `unavailable` when there is no key.
   */
  seal(headers: Record<string, string>, context: SecretContext): Promise<string>
  /**
   * The headers that were sealed in this very context.
   * @throws AppError `conflict` when the text was sealed in another one, with another key, or was changed; `unavailable`
   * when there is no key.
   */
  open(ciphertext: string, context: SecretContext): Promise<Record<string, string>>
}

const VERSION = 'v1'
const IV_BYTES = 12
const MIN_KEY_CHARS = 32
const MAX_HEADERS = 32
const MAX_HEADER_CHARS = 8_192

/** What the columns `header_names` take; RFC 9110 allows a few characters more that nobody uses. */
const HEADER_NAME = /^[A-Za-z0-9_.-]{1,100}$/
const HEADER_VALUE = /^[\t\x20-\x7e]*$/

/** Headers that are the connection's or ours: whoever could set them would speak in another's name or break the framing. */
const RESERVED =
  /^(connection|content-encoding|content-length|expect|host|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|x-bulkhead-.*)$/i

/** The host that secret headers for this URL are bound to: name and port, as `URL.host`. @throws TypeError for no URL. */
export function secretHost(url: string): string {
  return new URL(url).host
}

/**
 * Checks headers that a person wants sent with every call. Messages name the header, never its value.
 * @throws AppError `invalid_request`.
 */
export function checkHeaders(headers: Record<string, string>): void {
  const entries = Object.entries(headers)
  if (entries.length > MAX_HEADERS) {
    throw new AppError('invalid_request', `headers: at most ${MAX_HEADERS} headers can be set.`)
  }
  const names = new Set<string>()
  let size = 0
  for (const [name, value] of entries) {
    const shown = JSON.stringify(name.slice(0, 60))
    if (!HEADER_NAME.test(name)) throw new AppError('invalid_request', `headers: ${shown} is not a header name.`)
    if (RESERVED.test(name)) throw new AppError('invalid_request', `headers: ${shown} cannot be set.`)
    if (names.has(name.toLowerCase())) throw new AppError('invalid_request', `headers: ${shown} is there twice.`)
    if (typeof value !== 'string' || !HEADER_VALUE.test(value)) {
      throw new AppError('invalid_request', `headers: the value of ${shown} has characters a header cannot have.`)
    }
    names.add(name.toLowerCase())
    size += name.length + value.length
  }
  if (size > MAX_HEADER_CHARS) {
    throw new AppError('invalid_request', `headers: at most ${MAX_HEADER_CHARS} characters together.`)
  }
}

const utf8 = (text: string) => new TextEncoder().encode(text)

/** The context as bytes: a JSON array, so that no two contexts read the same. */
const boundTo = ({ tenantId, kind, id, host }: SecretContext) =>
  utf8(JSON.stringify([VERSION, tenantId.toLowerCase(), kind, id.toLowerCase(), host.toLowerCase()]))

async function deriveKey(material: string): Promise<CryptoKey> {
  const secret = await crypto.subtle.importKey('raw', utf8(material), 'HKDF', false, ['deriveKey'])
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(32), info: utf8('bulkhead secret headers') }
  return crypto.subtle.deriveKey(parameters, secret, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
}

const unreadable = (cause?: unknown) =>
  new AppError('conflict', 'The secret headers cannot be read. Set them again.', {
    cause,
    hint: 'They are bound to the host they were set for, and to the key that was configured then.',
  })

/**
 * Seals with AES-256-GCM (a random nonce each time) under a key derived by HKDF-SHA-256. A sealed text is
 * `v1.<nonce>.<ciphertext>`, both parts base64url.
 * @param keyMaterial at least 32 characters that nobody can guess, or null: then every call fails with `unavailable`.
 * @throws Error when it is shorter.
 */
export function createSecretBox(keyMaterial: string | null): SecretBox {
  if (keyMaterial === null) {
    const unavailable = () =>
      Promise.reject(
        new AppError('unavailable', 'Secret headers need the key BULKHEAD_SECRETS_KEY.', {
          hint: 'Set the secret, or BULKHEAD_SIGNING_JWK.',
        }),
      )
    return { seal: unavailable, open: unavailable }
  }
  if (keyMaterial.length < MIN_KEY_CHARS) {
    throw new Error(`BULKHEAD_SECRETS_KEY is shorter than ${MIN_KEY_CHARS} characters.`)
  }
  const key = deriveKey(keyMaterial)
  return {
    async seal(headers, context) {
      checkHeaders(headers)
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES))
      const algorithm = { name: 'AES-GCM', iv, additionalData: boundTo(context) }
      const sealed = await crypto.subtle.encrypt(algorithm, await key, utf8(JSON.stringify(headers)))
      return `${VERSION}.${base64url.encode(iv)}.${base64url.encode(new Uint8Array(sealed))}`
    },
    async open(ciphertext, context) {
      const [version, iv, sealed, ...rest] = ciphertext.split('.')
      if (version !== VERSION || !iv || !sealed || rest.length > 0) throw unreadable()
      try {
        const algorithm = {
          name: 'AES-GCM',
          iv: new Uint8Array(base64url.decode(iv)),
          additionalData: boundTo(context),
        }
        const text = await crypto.subtle.decrypt(algorithm, await key, new Uint8Array(base64url.decode(sealed)))
        return JSON.parse(new TextDecoder().decode(text))
      } catch (error) {
        throw unreadable(error)
      }
    },
  }
}

/**
 * The box of a project: its key is BULKHEAD_SECRETS_KEY, else the private part of BULKHEAD_SIGNING_JWK.
 * @throws Error when the one that is set is malformed.
 */
export function secretBoxFromEnv(env: Env): SecretBox {
  const signingJwk = optional(env, 'BULKHEAD_SIGNING_JWK')
  const fallback = signingJwk === undefined ? null : parseSigningJwk(signingJwk).d
  return createSecretBox(optional(env, 'BULKHEAD_SECRETS_KEY') ?? fallback)
}
