import type { Database, Row, Sql } from '../database/database.ts'
import { AuthError } from './errors.ts'
import type { UserRow } from './users.ts'

type Claims = Record<string, unknown>

export type ClaimsInput = {
  user: UserRow
  sessionId: string
  issuer: string
  /** Seconds since the epoch. */
  issuedAt: number
  expiresAt: number
}

/** How a session began, newest first, as the `amr` claim has it. */
const readMethods = (sql: Sql, sessionId: string): Promise<Row[]> =>
  sql.query(
    `select authentication_method as method, extract(epoch from created_at)::bigint as timestamp
     from auth.mfa_amr_claims where session_id = $1 order by created_at desc`,
    [sessionId],
  )

/** Notes how a new session began. A refresh keeps what is noted. */
export const recordMethod = async (sql: Sql, sessionId: string, method: string): Promise<void> => {
  await sql.query(
    `insert into auth.mfa_amr_claims (session_id, authentication_method) values ($1, $2)
     on conflict on constraint mfa_amr_claims_session_id_authentication_method_pkey do update set updated_at = now()`,
    [sessionId, method],
  )
}

/** The claims GoTrue puts into an access token, before any hook. */
export const accessTokenClaims = async (sql: Sql, input: ClaimsInput): Promise<Claims> => ({
  iss: input.issuer,
  sub: input.user.id,
  aud: input.user.aud || 'authenticated',
  exp: input.expiresAt,
  iat: input.issuedAt,
  email: input.user.email ?? '',
  phone: input.user.phone ?? '',
  app_metadata: input.user.raw_app_meta_data ?? {},
  user_metadata: input.user.raw_user_meta_data ?? {},
  role: input.user.role || 'authenticated',
  aal: 'aal1',
  amr: await readMethods(sql, input.sessionId),
  session_id: input.sessionId,
  is_anonymous: input.user.is_anonymous,
})

/** GoTrue refuses what a hook returns when one of these is gone. */
const REQUIRED = ['iss', 'aud', 'exp', 'iat', 'sub', 'role', 'aal', 'session_id', 'email', 'phone', 'is_anonymous']

/**
 * Runs the custom access token hook, as supabase_auth_admin as on the platform.
 * @param hook quoted SQL name of the function.
 * @throws AuthError with the status the hook asks for, or 500 when it fails or returns nonsense.
 */
export const runAccessTokenHook = async (
  db: Database,
  hook: string,
  event: { user_id: string; claims: Claims; authentication_method: string },
): Promise<Claims> => {
  let output: unknown
  try {
    const [row] = await db.asCaller({ role: 'supabase_auth_admin', claims: {} }, (tx) =>
      tx.query(`select ${hook}($1::jsonb) as output`, [JSON.stringify(event)]),
    )
    output = row?.['output']
  } catch (error) {
    const { code = 'unknown' } = error as { code?: string }
    throw new AuthError(500, 'unexpected_failure', `Error running hook ${hook.replaceAll('"', '')} (SQLSTATE ${code})`)
  }
  const { claims, error } = (output ?? {}) as { claims?: Claims; error?: { http_code?: number; message?: string } }
  if (error) throw new AuthError(error.http_code ?? 500, 'hook_rejected', error.message ?? 'The hook refused the token')
  const missing = claims && typeof claims === 'object' ? REQUIRED.find((name) => claims[name] === undefined) : 'claims'
  if (!claims || missing) {
    throw new AuthError(500, 'hook_payload_invalid', `output claims do not conform: ${missing} is required`)
  }
  return claims
}
