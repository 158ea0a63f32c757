import { isRequestRole, type ResolveApiKey, type TokenAuthority } from '../auth/tokens.ts'
import type { DbCaller } from '../database/database.ts'
import { StorageError } from './errors.ts'

export type CallerOptions = { tokens: Pick<TokenAuthority, 'verify'>; resolveApiKey: ResolveApiKey }

/**
 * Who a request is from, or null without any credential: the bearer token, else the API key. A credential that is
 * present but not valid is refused rather than ignored.
 * @throws StorageError `AccessDenied`
 */
export async function resolveCaller(request: Request, options: CallerOptions): Promise<DbCaller | null> {
  const bearer = /^bearer\s+(\S+)$/i.exec(request.headers.get('authorization') ?? '')?.[1]
  if (!bearer && request.headers.has('authorization')) throw invalid()
  const apikey = request.headers.get('apikey')
  if (!bearer && !apikey) return null

  const claims = (await claimsOf(bearer ?? apikey, options)) ?? {}
  const role = claims['role']
  if (!isRequestRole(role)) throw invalid()
  return {
    role,
    claims,
    headers: Object.fromEntries(request.headers),
    settings: { 'request.method': request.method, 'request.path': new URL(request.url).pathname },
  }
}

/** The same caller within one named operation, which policies can read through `storage.operation()`. */
export function during(caller: DbCaller, operation: string): DbCaller {
  // Rows of the storage schema may only be deleted through this API; see bootstrap.sql.
  const settings = { 'storage.operation': operation, 'storage.allow_delete_query': 'true' }
  return { ...caller, settings: { ...caller.settings, ...settings } }
}

/** The `sub` of the caller: owner of what it uploads. */
export function ownerOf(caller: DbCaller): string | null {
  const sub = caller.claims['sub']
  return typeof sub === 'string' && sub !== '' ? sub : null
}

async function claimsOf(credential: string | null | undefined, { tokens, resolveApiKey }: CallerOptions) {
  const key = await resolveApiKey(credential)
  if (key) return { ...key.claims, role: key.role }
  try {
    return await tokens.verify(credential ?? '')
  } catch {
    throw invalid()
  }
}

function invalid(): StorageError {
  return new StorageError('AccessDenied', 'Invalid Compact JWS')
}
