import bcrypt from 'bcryptjs'
import type { Row, Sql } from '../database/database.ts'
import { AuthError } from './errors.ts'

export type UserRow = Row & {
  id: string
  aud: string | null
  role: string | null
  email: string | null
  phone: string | null
  raw_app_meta_data: Record<string, unknown> | null
  raw_user_meta_data: Record<string, unknown> | null
  banned_until: string | null
  is_anonymous: boolean
}

/** Cheap on purpose, as the seeds' hashes are: these accounts exist on a developer's machine only. */
const BCRYPT_COST = 6
const MAX_PASSWORD_BYTES = 72
const EMAIL = /^[^\s@]+@[^\s@]+\.[^\s@]+$/
const BAN_UNITS = { ns: 1e-6, us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 } as const

/** Lower-cased e-mail address. @throws AuthError `validation_failed` */
export const normalizeEmail = (email: unknown): string => {
  if (typeof email === 'string' && EMAIL.test(email)) return email.toLowerCase()
  throw new AuthError(400, 'validation_failed', 'Unable to validate email address: invalid format')
}

/** @throws AuthError when the password is too long for bcrypt, or too short for the project. */
export const hashPassword = async (password: unknown, minimumLength: number): Promise<string> => {
  if (typeof password !== 'string') throw new AuthError(400, 'validation_failed', 'Password must be a string')
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
    throw new AuthError(400, 'validation_failed', 'Password cannot be longer than 72 characters')
  }
  if (password.length < minimumLength) {
    throw new AuthError(422, 'weak_password', `Password should be at least ${minimumLength} characters.`)
  }
  return bcrypt.hash(password, BCRYPT_COST)
}

/**
 * When a ban ends. @param duration `none`, or a Go duration such as `24h` or `1h30m`.
 * @returns ISO time, or null for no ban. @throws AuthError `validation_failed`
 */
export const bannedUntil = (duration: unknown, now = Date.now()): string | null => {
  if (duration === 'none') return null
  const parts = typeof duration === 'string' ? [...duration.matchAll(/(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)/g)] : []
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== duration) {
    throw new AuthError(400, 'validation_failed', `invalid format for ban duration: ${String(duration)}`)
  }
  const length = parts.reduce((sum, [, n, unit]) => sum + Number(n) * BAN_UNITS[unit as keyof typeof BAN_UNITS], 0)
  // Beyond this JavaScript has no dates; a ban of centuries is for ever all the same.
  return new Date(Math.min(now + length, Date.UTC(9999, 11, 31))).toISOString()
}

export const isBanned = (user: Pick<UserRow, 'banned_until'>): boolean =>
  user.banned_until !== null && Date.parse(user.banned_until) > Date.now()

export const findUser = async (sql: Sql, id: string): Promise<UserRow | undefined> =>
  (await sql.query<UserRow>('select * from auth.users where id::text = $1 and deleted_at is null', [id]))[0]

const OPTIONAL = [
  ...['email_confirmed_at', 'phone_confirmed_at', 'confirmed_at', 'confirmation_sent_at', 'recovery_sent_at'],
  ...['invited_at', 'last_sign_in_at', 'banned_until', 'deleted_at'],
]

/** Users as the Auth API shows them, each with its identities. */
export const describeUsers = async (sql: Sql, users: UserRow[]): Promise<Row[]> => {
  const identities = await sql.query<Row & { user_id: string }>(
    `select id as identity_id, provider_id as id, user_id, identity_data, provider, last_sign_in_at, created_at,
       updated_at, email
     from auth.identities where user_id = any($1::uuid[]) order by created_at`,
    [users.map(({ id }) => id)],
  )
  return users.map((user) => ({
    id: user.id,
    aud: user.aud || 'authenticated',
    role: user.role || 'authenticated',
    email: user.email ?? '',
    phone: user.phone ?? '',
    app_metadata: user.raw_app_meta_data ?? {},
    user_metadata: user.raw_user_meta_data ?? {},
    identities: identities.filter(({ user_id }) => user_id === user.id),
    created_at: user['created_at'],
    updated_at: user['updated_at'],
    is_anonymous: user.is_anonymous,
    ...Object.fromEntries(OPTIONAL.filter((key) => user[key] !== null).map((key) => [key, user[key]])),
  }))
}
