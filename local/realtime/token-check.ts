import { decodeJwt, decodeProtectedHeader } from 'jose'
import { TokenError, type ResolveApiKey, type TokenAuthority } from '../auth/tokens.ts'

export type Claims = Record<string, unknown> & { role: string }

export type TokenProblem =
  | { code: 'malformed' | 'signature' | 'claims' }
  | { code: 'expired'; /** Seconds since it expired. */ ago: number }

export class TokenRejected extends Error {
  readonly problem: TokenProblem
  constructor(problem: TokenProblem) {
    super(problemText(problem))
    this.problem = problem
  }
}

/** The sentence a client reads in a `system` message. */
export const problemText = (problem: TokenProblem): string => {
  switch (problem.code) {
    case 'malformed':
      return 'The token provided is not a valid JWT'
    case 'signature':
      return 'Failed to validate JWT signature'
    case 'claims':
      return 'Fields `role` and `exp` are required in JWT'
    case 'expired':
      return `Token has expired ${problem.ago} seconds ago`
  }
}

/** The `reason` of a refused join. */
export const problemReason = (problem: TokenProblem): string => {
  const prefix = { malformed: 'MalformedJWT', signature: 'JwtSignatureError' } as Record<string, string>
  return `${prefix[problem.code] ?? 'InvalidJWTToken'}: ${problemText(problem)}`
}

const secondsNow = (): number => Date.now() / 1000

/** Whole seconds since `exp`, or null while the claims are still valid (or carry no expiry). */
export const expiredAgo = (claims: Record<string, unknown>): number | null => {
  const { exp } = claims
  if (typeof exp !== 'number') return null
  const ago = secondsNow() - exp
  return ago >= 0 ? Math.floor(ago) : null
}

const readUnverified = (token: string): Record<string, unknown> => {
  try {
    decodeProtectedHeader(token)
    return decodeJwt(token)
  } catch {
    throw new TokenRejected({ code: 'malformed' })
  }
}

/**
 * Claims of a JWT signed by this stack.
 * @throws TokenRejected with what is wrong with it.
 */
export const checkToken = async (tokens: TokenAuthority, presented: string): Promise<Claims> => {
  const token = presented.replace(/\s/g, '')
  const unverified = readUnverified(token)
  let claims: Record<string, unknown>
  try {
    claims = await tokens.verify(token)
  } catch (error) {
    // Only a token whose signature was good is told that it expired.
    const expired = error instanceof TokenError && error.reason === 'expired'
    throw new TokenRejected(expired ? { code: 'expired', ago: expiredAgo(unverified) ?? 0 } : { code: 'signature' })
  }
  const { role, exp, iat } = claims
  if (typeof role !== 'string' || typeof exp !== 'number') throw new TokenRejected({ code: 'claims' })
  if (iat !== undefined && typeof iat !== 'number') throw new TokenRejected({ code: 'malformed' })
  const ago = expiredAgo(claims)
  if (ago !== null) throw new TokenRejected({ code: 'expired', ago })
  return { ...claims, role }
}

/** New-style keys are names for a role, not JWTs: the platform's gateway swaps them before Realtime sees them. */
export const isApiKey = (value: string): boolean => value.startsWith('sb_')

/**
 * Claims of what a connection or request presents as its key: a configured `sb_` key or a JWT.
 * @throws TokenRejected when it is neither.
 */
export const checkKey = async (
  tokens: TokenAuthority,
  resolveApiKey: ResolveApiKey,
  presented: string,
): Promise<Claims> => {
  const key = presented.replace(/\s/g, '')
  if (!isApiKey(key)) return checkToken(tokens, key)
  const resolved = await resolveApiKey(key)
  if (resolved === null) throw new TokenRejected({ code: 'malformed' })
  return { ...resolved.claims, role: resolved.role }
}
