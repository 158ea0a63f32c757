import { randomBytes } from 'node:crypto'
import { App, InMemoryEmailDriver } from '@supabase/lite'
import { SignJWT } from 'jose'
import type { ProjectConfig } from '../config.ts'
import type { SessionDatabase } from '../database/database.ts'
import { EngineConnection } from '../rest/engine-connection.ts'
import { quietly } from '../rest/quiet-console.ts'
import { createAdminRoutes } from './admin.ts'
import { gatewayRefusal, identify, requireApiKey, type Caller, type Refusal } from './caller.ts'
import { AuthError, authErrorResponse } from './errors.ts'
import { createSessionIssuer } from './session-issuer.ts'
import type { ResolveApiKey, TokenAuthority } from './tokens.ts'

export type AuthDeps = {
  db: SessionDatabase
  tokens: TokenAuthority
  resolveApiKey: ResolveApiKey
  config: ProjectConfig['auth']
  /** Where clients reach the stack, e.g. http://127.0.0.1:54321; asked at each use, since the port may be chosen late. */
  externalUrl: () => string
  log?: (event: string, fields: Record<string, unknown>) => void
}

export type AuthService = {
  fetch(request: Request): Promise<Response>
  /** Messages that would have been sent to an address, oldest first. */
  emailsTo(address: string): { subject: string; text?: string | undefined }[]
}

const BASE = '/auth/v1'
/** Reached from links in messages and by token verifiers, which have no API key. */
const WITHOUT_KEY = /^\/auth\/v1\/(callback|authorize|verify|health|\.well-known\/.*)$/
const ADMIN = /^\/auth\/v1\/(admin\/.*|invite|generate_link)$/
/** Speak for a user; the others take an API key and do not look at a bearer token. */
const FOR_USER = /^\/auth\/v1\/(user|logout|reauthenticate|factors.*|user\/.*)$/

/** GoTrue under `/auth/v1`: the password flows of @supabase/lite, with the platform's tokens, hook, keys and admin API. */
export const createAuth = async (deps: AuthDeps): Promise<AuthService> => {
  const { db, tokens, resolveApiKey, config, log = () => {} } = deps
  // Tokens in the engine's own format never leave this process, so its secret is nobody's business.
  const innerSecret = randomBytes(32).toString('hex')
  const emailDriver = new InMemoryEmailDriver()
  const engine = await createEngine(db, config, innerSecret, emailDriver)
  const issuer = createSessionIssuer(deps)
  const admin = createAdminRoutes({ db, minimumPasswordLength: config.minimumPasswordLength })

  /** The request as the engine understands it: the caller's verified claims under the engine's own signature. */
  const forEngine = async (request: Request, caller: Caller | null): Promise<Request> => {
    const headers = new Headers(request.headers)
    headers.delete('authorization')
    headers.delete('apikey')
    if (caller?.token) {
      const key = new TextEncoder().encode(innerSecret)
      const inner = await new SignJWT(caller.claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(key)
      headers.set('authorization', `Bearer ${inner}`)
    }
    return new Request(request.url, {
      method: request.method,
      headers,
      body: request.body && (await request.arrayBuffer()),
    })
  }

  const handle = async (request: Request): Promise<Response> => {
    const { pathname } = new URL(request.url)
    if (pathname === `${BASE}/.well-known/jwks.json` && request.method === 'GET') {
      return Response.json(tokens.jwks, { headers: { 'cache-control': 'public, max-age=600' } })
    }
    let caller: Caller | null = null
    if (ADMIN.test(pathname) || FOR_USER.test(pathname)) {
      const identified = await identify(request, deps)
      if ('refusal' in identified) return authRefusal(identified.refusal)
      caller = identified.caller
    } else if (!WITHOUT_KEY.test(pathname)) {
      const found = await requireApiKey(request, resolveApiKey)
      if ('refusal' in found) return authRefusal(found.refusal)
    }
    if (ADMIN.test(pathname)) {
      if (caller?.role !== 'service_role') throw new AuthError(403, 'not_admin', 'User not allowed')
      const inner = new URL(request.url)
      inner.pathname = pathname.slice(BASE.length).replace(/^\/admin/, '')
      const { method, headers } = request
      return admin.fetch(new Request(inner, { method, headers, body: request.body && (await request.arrayBuffer()) }))
    }
    const grant = new URL(request.url).searchParams.get('grant_type')
    if (pathname === `${BASE}/token` && grant === 'refresh_token') await issuer.refuseBannedRefresh(request.clone())
    const response = await quietly(async () => engine.fetch(await forEngine(request, caller)))
    return issuer.finish(response, pathname, grant)
  }

  return {
    async fetch(request) {
      try {
        const response = await handle(request)
        if (response.status >= 500) {
          log('auth_failed', { method: request.method, path: new URL(request.url).pathname, status: response.status })
        }
        return response
      } catch (error) {
        if (error instanceof AuthError) return authErrorResponse(error)
        const { name, code } = error as { name: string; code?: string }
        log('auth_failed', { method: request.method, path: new URL(request.url).pathname, error: name, code })
        return authErrorResponse(new AuthError(500, 'unexpected_failure', 'Unexpected failure'))
      }
    },
    emailsTo: (address) => (emailDriver.messages.get(address) ?? []).map(({ subject, text }) => ({ subject, text })),
  }
}

/** A refused token as the Auth API says it; a refused API key stays as the gateway says it. */
const authRefusal = (refusal: Refusal): Response => {
  const reasons: Partial<Record<Refusal['because'], string>> = {
    malformed: 'token is malformed: token contains an invalid number of segments',
    expired: 'token has invalid claims: token is expired',
    not_yet_valid: 'token has invalid claims: token is not valid yet',
    future: 'token has invalid claims: token used before issued',
  }
  const reason = reasons[refusal.because] ?? 'token signature is invalid: signature is invalid'
  return (
    gatewayRefusal(refusal) ??
    authErrorResponse(new AuthError(403, 'bad_jwt', `invalid JWT: unable to parse or verify signature, ${reason}`))
  )
}

const createEngine = async (
  db: SessionDatabase,
  config: ProjectConfig['auth'],
  innerSecret: string,
  email: InMemoryEmailDriver,
): Promise<App> => {
  const app = new App({
    connection: new EngineConnection(db),
    auth: {
      enabled: true,
      jwt_secret: innerSecret,
      jwt_expiry: config.jwtExpiry,
      site_url: config.siteUrl,
      enable_signup: config.enableSignup,
      minimum_password_length: config.minimumPasswordLength,
      enable_refresh_token_rotation: config.refreshTokenRotation,
      email: { enable_signup: config.enableEmailSignup, enable_confirmations: config.enableConfirmations },
    },
    storage: { enabled: false },
    studio: { enabled: false },
    options: { drivers: { email }, server: { apiKeys: false } },
  })
  return app.init()
}
