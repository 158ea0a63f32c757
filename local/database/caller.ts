import type { DbCaller } from './database.ts'

const IDENTIFIER = /^[a-z_][a-z0-9_]*$/

/**
 * One statement that makes a transaction run as `caller`: the role, and the settings PostgREST makes for a request.
 * Everything is local to the transaction, so nothing is left in the session whichever way it ends.
 * @throws when the role or a setting has a name that is not a plain identifier.
 */
export const callerSettings = (
  caller: DbCaller,
  roleSettings: Record<string, string> = {},
): { text: string; params: string[] } => {
  if (!IDENTIFIER.test(caller.role)) throw new Error('Not a role name.')
  const { sub, email } = caller.claims
  const settings: Record<string, string> = {
    ...roleSettings,
    'request.jwt.claims': JSON.stringify(caller.claims),
    // The older one-setting-per-claim form, which auth.uid() and older policies still read first.
    'request.jwt.claim.sub': typeof sub === 'string' ? sub : '',
    'request.jwt.claim.role': caller.role,
    'request.jwt.claim.email': typeof email === 'string' ? email : '',
    'request.headers': JSON.stringify(caller.headers ?? {}),
    ...caller.settings,
    // Last: the others may need rights the role does not have.
    role: caller.role,
  }
  const params = Object.entries(settings).flat()
  const calls = Object.keys(settings).map((_, index) => `set_config($${index * 2 + 1}, $${index * 2 + 2}, true)`)
  return { text: `select ${calls.join(', ')}`, params }
}
