import { isRequestRole, TokenError, type RequestRole, type ResolveApiKey, type TokenAuthority } from './tokens.ts'

/** Who a request speaks for. */
export type Caller = {
  role: RequestRole
  claims: Record<string, unknown>
  /** The bearer token the claims are from; undefined when they are the API key's. */
  token: string | undefined
}

/** Why a request is refused before any service looks at it. */
export type Refusal =
  | { because: 'no_key' | 'unknown_key' | 'secret_key_in_browser' | 'expired' | 'not_yet_valid' | 'future' | 'invalid' }
  | { because: 'malformed'; parts: number }
  | { because: 'role'; role: string }

type KeyOwner = NonNullable<Awaited<ReturnType<ResolveApiKey>>>

/** Seconds of clock difference that are forgiven for `iat`, as PostgREST does. */
const CLOCK_SKEW_S = 30
const BROWSER = /^\s*Mozilla\/5\.0/i

/** Whose API key a request carries, in its header or query. Every request must carry one. */
export const requireApiKey = async (
  request: Request,
  resolveApiKey: ResolveApiKey,
): Promise<{ key: KeyOwner; apiKey: string } | { refusal: Refusal }> => {
  const apiKey = request.headers.get('apikey') ?? new URL(request.url).searchParams.get('apikey')
  if (!apiKey) return { refusal: { because: 'no_key' } }
  const key = await resolveApiKey(apiKey)
  if (!key) return { refusal: { because: 'unknown_key' } }
  if (apiKey.startsWith('sb_secret_') && BROWSER.test(request.headers.get('user-agent') ?? '')) {
    return { refusal: { because: 'secret_key_in_browser' } }
  }
  return { key, apiKey }
}

/**
 * Finds out who sends a request, as the platform's gateway and PostgREST together do: an API key must be there, a user's
 * bearer token goes before it, and a token that is there but not good is refused, never treated as anonymous.
 */
export const identify = async (
  request: Request,
  { tokens, resolveApiKey }: { tokens: TokenAuthority; resolveApiKey: ResolveApiKey },
): Promise<{ caller: Caller } | { refusal: Refusal }> => {
  const found = await requireApiKey(request, resolveApiKey)
  if ('refusal' in found) return found
  const { key, apiKey } = found

  const bearer = /^Bearer\s+(.*)$/is.exec(request.headers.get('authorization') ?? '')?.[1]?.trim()
  // Clients send the key as bearer too while nobody is signed in.
  if (bearer === undefined || bearer === apiKey || bearer.startsWith('sb_')) {
    return { caller: { role: key.role, claims: key.claims, token: undefined } }
  }
  const parts = bearer.split('.').length
  if (parts !== 3) return { refusal: { because: 'malformed', parts } }
  let claims: Record<string, unknown>
  try {
    claims = await tokens.verify(bearer)
  } catch (error) {
    const reason = error instanceof TokenError ? error.reason : 'invalid'
    return { refusal: { because: reason === 'malformed' ? 'invalid' : reason } }
  }
  if (typeof claims['iat'] === 'number' && claims['iat'] > Date.now() / 1000 + CLOCK_SKEW_S) {
    return { refusal: { because: 'future' } }
  }
  const role = claims['role'] ?? 'anon'
  if (!isRequestRole(role)) return { refusal: { because: 'role', role: String(role) } }
  return { caller: { role, claims: { ...claims, role }, token: bearer } }
}

/** The gateway's own answers, the same for all services; null when the service must answer in its own form. */
export const gatewayRefusal = ({ because }: Refusal): Response | null => {
  const answer = (message: string, hint?: string) => Response.json({ message, hint }, { status: 401 })
  switch (because) {
    case 'no_key':
      return answer('No API key found in request', 'No `apikey` request header or url param was found.')
    case 'unknown_key':
      return answer('Invalid API key', 'Double check your Supabase `anon` or `service_role` API key.')
    case 'secret_key_in_browser':
      return answer('Forbidden use of secret API key in browser')
    default:
      return null
  }
}
