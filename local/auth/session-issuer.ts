import { decodeJwt } from 'jose'
import type { ProjectConfig } from '../config.ts'
import type { Database } from '../database/database.ts'
import { accessTokenClaims, recordMethod, runAccessTokenHook } from './access-token.ts'
import { AuthError, bannedError } from './errors.ts'
import type { TokenAuthority } from './tokens.ts'
import { findUser, isBanned } from './users.ts'

export type SessionIssuerDeps = {
  db: Database
  tokens: TokenAuthority
  config: Pick<ProjectConfig['auth'], 'accessTokenHook'>
  externalUrl: () => string
}

export interface SessionIssuer {
  /** @throws AuthError when the refresh token in the body is a banned user's: the session must not go on. */
  refuseBannedRefresh(request: Request): Promise<void>
  /** Replaces the engine's access token in a session answer by the platform's. Other answers pass unchanged. */
  finish(response: Response, pathname: string, grant: string | null): Promise<Response>
}

/** What GoTrue calls the way a session began. */
const methodOf = (pathname: string, grant: string | null): string => {
  if (grant === 'refresh_token') return 'token_refresh'
  if (grant === 'pkce' || pathname.endsWith('/callback')) return 'oauth'
  return pathname.endsWith('/verify') ? 'otp' : 'password'
}

export const createSessionIssuer = ({ db, tokens, config, externalUrl }: SessionIssuerDeps): SessionIssuer => {
  const issue = async (engineToken: string, method: string): Promise<string> => {
    // Made by our own engine a moment ago, inside this process: nothing to verify.
    const {
      sub,
      session_id: sessionId,
      iat,
      exp,
    } = decodeJwt(engineToken) as { session_id: string } & ReturnType<typeof decodeJwt>
    try {
      const user = sub ? await findUser(db, sub) : undefined
      if (!user) throw new AuthError(404, 'user_not_found', 'User from sub claim in JWT does not exist')
      if (isBanned(user)) throw bannedError()
      if (method !== 'token_refresh') await recordMethod(db, sessionId, method)
      const issuedAt = iat ?? Math.floor(Date.now() / 1000)
      const issuer = `${externalUrl()}/auth/v1`
      const expiresAt = exp ?? issuedAt + 3600
      const claims = await accessTokenClaims(db, { user, sessionId, issuer, issuedAt, expiresAt })
      if (!config.accessTokenHook) return await tokens.sign(claims)
      const event = { user_id: user.id, claims, authentication_method: method }
      return await tokens.sign(await runAccessTokenHook(db, config.accessTokenHook, event))
    } catch (error) {
      // Nobody got a token for this session, so it must not exist.
      await db.query('delete from auth.sessions where id = $1', [sessionId])
      throw error
    }
  }

  /** Links in messages answer with a redirect that carries the session in its fragment. */
  const finishRedirect = async (response: Response, location: string, method: string): Promise<Response> => {
    const url = new URL(location)
    const fragment = new URLSearchParams(url.hash.slice(1))
    const engineToken = fragment.get('access_token')
    if (!engineToken) return response
    fragment.set('access_token', await issue(engineToken, method))
    url.hash = fragment.toString()
    const headers = new Headers(response.headers)
    headers.set('location', url.toString())
    return new Response(null, { status: response.status, headers })
  }

  return {
    async refuseBannedRefresh(request) {
      const { refresh_token: token } = (await request.json().catch(() => ({}))) as { refresh_token?: unknown }
      if (typeof token !== 'string') return
      const [user] = await db.query<{ banned_until: string | null }>(
        `select users.banned_until from auth.refresh_tokens
         join auth.users on users.id = refresh_tokens.user_id
         where refresh_tokens.token = $1`,
        [token],
      )
      if (user && isBanned(user)) throw bannedError()
    },
    async finish(response, pathname, grant) {
      const method = methodOf(pathname, grant)
      const location = response.headers.get('location')
      if (location && response.status >= 300 && response.status < 400) return finishRedirect(response, location, method)
      if (response.status !== 200 || !response.headers.get('content-type')?.includes('json')) return response
      const text = await response.text()
      const headers = new Headers(response.headers)
      headers.delete('content-length')
      const body = JSON.parse(text) as { access_token?: unknown }
      if (typeof body.access_token !== 'string') return new Response(text, { status: 200, headers })
      const accessToken = await issue(body.access_token, method)
      return new Response(JSON.stringify({ ...body, access_token: accessToken }), { status: 200, headers })
    },
  }
}
