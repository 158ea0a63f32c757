import { randomUUID } from 'node:crypto'
import { Hono } from 'hono'
import type { Database, Row, Sql } from '../database/database.ts'
import { AuthError, authErrorResponse } from './errors.ts'
import { bannedUntil, describeUsers, findUser, hashPassword, normalizeEmail, type UserRow } from './users.ts'

export type AdminOptions = { db: Database; minimumPasswordLength: number }

const userNotFound = (): AuthError => new AuthError(404, 'user_not_found', 'User not found')

const readBody = async (request: Request): Promise<Row> => {
  try {
    const body: unknown = await request.json()
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Row
  } catch {
    // Answered like any other body that is not an object.
  }
  throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
}

const requireUser = async (sql: Sql, id: string): Promise<UserRow> => {
  const user = await findUser(sql, id)
  if (!user) throw userNotFound()
  return user
}

const describe = async (sql: Sql, id: string): Promise<Row> => {
  const [user] = await describeUsers(sql, [await requireUser(sql, id)])
  return user ?? {}
}

/** Another user must not have the address. @throws AuthError `email_exists` */
const requireFreeEmail = async (sql: Sql, email: string, ownId: string | null): Promise<void> => {
  const [other] = await sql.query('select id from auth.users where email = $1 and id is distinct from $2::uuid', [
    email,
    ownId,
  ])
  if (other) throw new AuthError(422, 'email_exists', 'A user with this email address has already been registered')
}

/** Rejects settings that would be forgotten silently. */
const refuseUnknown = (body: Row): void => {
  const known = new Set([
    ...['id', 'email', 'phone', 'password', 'email_confirm', 'phone_confirm', 'user_metadata', 'app_metadata'],
    ...['ban_duration', 'role', 'nonce', 'aud', 'data'],
  ])
  const unknown = Object.keys(body).find((key) => !known.has(key))
  if (unknown) throw new AuthError(400, 'validation_failed', `${unknown} is not supported by the local stack`)
}

const createUser = async (tx: Sql, body: Row, minimumPasswordLength: number): Promise<string> => {
  refuseUnknown(body)
  if (!body['email'] && !body['phone']) {
    throw new AuthError(400, 'validation_failed', 'Cannot create a user without either an email or phone')
  }
  const id = String(body['id'] ?? randomUUID())
  const email = body['email'] ? normalizeEmail(body['email']) : null
  if (email) await requireFreeEmail(tx, email, null)
  const password = body['password'] ? await hashPassword(body['password'], minimumPasswordLength) : null
  const provider = email ? 'email' : 'phone'
  const appMetadata = { provider, providers: [provider], ...(body['app_metadata'] as Row | undefined) }
  await tx.query(
    `insert into auth.users (id, aud, role, email, phone, encrypted_password, email_confirmed_at, phone_confirmed_at,
       raw_app_meta_data, raw_user_meta_data, banned_until, created_at, updated_at)
     values ($1, 'authenticated', $2, $3, $4, $5, case when $6 then now() end, case when $7 then now() end,
       $8, $9, $10, now(), now())`,
    [
      id,
      String(body['role'] || 'authenticated'),
      email,
      body['phone'] ? String(body['phone']) : null,
      password,
      body['email_confirm'] === true,
      body['phone_confirm'] === true,
      JSON.stringify(appMetadata),
      JSON.stringify(body['user_metadata'] ?? {}),
      body['ban_duration'] === undefined ? null : bannedUntil(body['ban_duration']),
    ],
  )
  await tx.query(
    `insert into auth.identities (id, user_id, provider_id, provider, identity_data) values (gen_random_uuid(), $1, $2, $3, $4)`,
    [
      id,
      id,
      provider,
      JSON.stringify({ sub: id, ...(email ? { email } : {}), email_verified: body['email_confirm'] === true }),
    ],
  )
  return id
}

const updateUser = async (tx: Sql, user: UserRow, body: Row, minimumPasswordLength: number): Promise<void> => {
  refuseUnknown(body)
  const email = body['email'] ? normalizeEmail(body['email']) : null
  if (email) await requireFreeEmail(tx, email, user.id)
  // Keys set to null are removed, as GoTrue does.
  await tx.query(
    `update auth.users set
       email = coalesce($2, email),
       phone = coalesce($3, phone),
       encrypted_password = coalesce($4, encrypted_password),
       raw_app_meta_data = jsonb_strip_nulls(coalesce(raw_app_meta_data, '{}') || $5::jsonb),
       raw_user_meta_data = jsonb_strip_nulls(coalesce(raw_user_meta_data, '{}') || $6::jsonb),
       role = coalesce($7, role),
       email_confirmed_at = case when $8 then coalesce(email_confirmed_at, now()) else email_confirmed_at end,
       phone_confirmed_at = case when $9 then coalesce(phone_confirmed_at, now()) else phone_confirmed_at end,
       banned_until = case when $10 then $11::timestamptz else banned_until end,
       updated_at = now()
     where id = $1`,
    [
      user.id,
      email,
      body['phone'] ? String(body['phone']) : null,
      body['password'] ? await hashPassword(body['password'], minimumPasswordLength) : null,
      JSON.stringify(body['app_metadata'] ?? {}),
      JSON.stringify(body['user_metadata'] ?? {}),
      body['role'] ? String(body['role']) : null,
      body['email_confirm'] === true,
      body['phone_confirm'] === true,
      body['ban_duration'] !== undefined,
      body['ban_duration'] === undefined ? null : bannedUntil(body['ban_duration']),
    ],
  )
  if (email) {
    await tx.query(
      `update auth.identities set identity_data = identity_data || jsonb_build_object('email', $2::text), updated_at = now()
       where user_id = $1 and provider = 'email'`,
      [user.id, email],
    )
  }
}

const deleteUser = async (tx: Sql, user: UserRow, soft: boolean): Promise<void> => {
  if (!soft) {
    await tx.query('delete from auth.users where id = $1', [user.id])
    return
  }
  await tx.query('delete from auth.sessions where user_id = $1', [user.id])
  await tx.query('delete from auth.identities where user_id = $1', [user.id])
  await tx.query(
    `update auth.users set deleted_at = now(), email = null, phone = null, encrypted_password = null,
       raw_app_meta_data = '{}', raw_user_meta_data = '{}' where id = $1`,
    [user.id],
  )
}

const page = (value: string | undefined, fallback: number): number => {
  const number = Number(value || fallback)
  if (Number.isInteger(number) && number > 0) return number
  throw new AuthError(400, 'validation_failed', 'Bad Pagination Parameters')
}

/** The users of the Admin API, and clear refusals for the rest of it. The caller has been checked to be service_role. */
export const createAdminRoutes = ({ db, minimumPasswordLength }: AdminOptions): Hono => {
  const app = new Hono()
  app.onError((error) => {
    if (error instanceof AuthError) return authErrorResponse(error)
    const code = (error as { code?: string }).code
    if (code === '22P02') return authErrorResponse(new AuthError(400, 'validation_failed', 'id must be an UUID'))
    if (code === '23505') return authErrorResponse(new AuthError(422, 'conflict', 'The user already exists'))
    return authErrorResponse(new AuthError(500, 'unexpected_failure', `Database error (${code ?? 'unknown'})`))
  })
  app.notFound(() =>
    authErrorResponse(new AuthError(422, 'not_available', 'The local stack does not offer this part of the Admin API')),
  )

  app.get('/users', async (c) => {
    const number = page(c.req.query('page'), 1)
    const size = page(c.req.query('per_page'), 50)
    const rows = await db.query<UserRow>(
      'select * from auth.users where deleted_at is null order by created_at desc, id limit $1 offset $2',
      [size, (number - 1) * size],
    )
    const [count] = await db.query<{ total: number }>(
      'select count(*)::int as total from auth.users where deleted_at is null',
    )
    const total = count?.total ?? 0
    const last = Math.max(1, Math.ceil(total / size))
    const link = (to: number, rel: string) => `<${c.req.path}?page=${to}&per_page=${size}>; rel="${rel}"`
    c.header('x-total-count', String(total))
    c.header('link', [...(number < last ? [link(number + 1, 'next')] : []), link(last, 'last')].join(', '))
    return c.json({ users: await describeUsers(db, rows), aud: 'authenticated' })
  })
  app.post('/users', async (c) => {
    const body = await readBody(c.req.raw)
    const user = await db.transaction(async (tx) => describe(tx, await createUser(tx, body, minimumPasswordLength)))
    return c.json(user)
  })
  app.get('/users/:id', async (c) => c.json(await describe(db, c.req.param('id'))))
  app.put('/users/:id', async (c) => {
    const body = await readBody(c.req.raw)
    const user = await db.transaction(async (tx) => {
      await updateUser(tx, await requireUser(tx, c.req.param('id')), body, minimumPasswordLength)
      return describe(tx, c.req.param('id'))
    })
    return c.json(user)
  })
  app.delete('/users/:id', async (c) => {
    const body: unknown = await c.req.json().catch(() => ({}))
    const soft = (body as Row | null)?.['should_soft_delete'] === true
    await db.transaction(async (tx) => deleteUser(tx, await requireUser(tx, c.req.param('id')), soft))
    return c.json({})
  })
  return app
}
