import { describe, expect, test } from 'vitest'
import { ALICE, FIXTURE_PASSWORD, FIXTURE_PROJECT } from '../support/stack-project.ts'
import { useStack } from '../support/stack.ts'

const stack = useStack({ projectDir: FIXTURE_PROJECT })
let counter = 0
const newUser = async (more: object = {}) => {
  const email = `admin-made-${++counter}@fixture.example`
  const { data, error } = await stack.service.auth.admin.createUser({
    email,
    password: 'long enough',
    email_confirm: true,
    ...more,
  })
  if (error) throw error
  return { email, id: data.user.id, user: data.user }
}
const signIn = (email: string, password = 'long enough') => stack.client().auth.signInWithPassword({ email, password })

describe('users', () => {
  test('are created with metadata and a given id, and can sign in', async () => {
    const id = crypto.randomUUID()
    const { email, user } = await newUser({ id, app_metadata: { tenant_id: 't-3' }, user_metadata: { name: 'M' } })
    expect(user).toMatchObject({
      id,
      email,
      app_metadata: { provider: 'email', providers: ['email'], tenant_id: 't-3' },
      user_metadata: { name: 'M' },
      identities: [{ provider: 'email', user_id: id }],
    })
    const { data } = await signIn(email)
    expect(data.user?.id).toBe(id)
  })

  test('without a confirmed address cannot sign in; confirmed they can', async () => {
    const { email, id } = await newUser({ email_confirm: false })
    expect((await signIn(email)).error?.code).toBe('email_not_confirmed')
    expect((await stack.service.auth.admin.updateUserById(id, { email_confirm: true })).error).toBeNull()
    expect((await signIn(email)).error).toBeNull()
  })

  test('are listed in pages, with the total', async () => {
    for (let i = 0; i < 3; i++) await newUser()
    const first = await stack.service.auth.admin.listUsers({ page: 1, perPage: 2 })
    const second = await stack.service.auth.admin.listUsers({ page: 2, perPage: 2 })
    const [count] = await stack.db.query<{ n: number }>(
      'select count(*)::int as n from auth.users where deleted_at is null',
    )
    expect(first.data.users).toHaveLength(2)
    expect(first.data).toMatchObject({ total: count?.n, nextPage: 2 })
    const ids = [...first.data.users, ...second.data.users].map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test('are read and updated: address, password, metadata (a null removes a key)', async () => {
    const { id, email } = await newUser({ user_metadata: { a: 1, b: 2 } })
    const changed = `changed-${email}`
    const { data, error } = await stack.service.auth.admin.updateUserById(id, {
      email: changed,
      password: 'another one',
      user_metadata: { a: null, c: 3 },
    })
    expect(error).toBeNull()
    expect(data.user).toMatchObject({ email: changed, user_metadata: { b: 2, c: 3 } })
    expect(data.user?.user_metadata).not.toHaveProperty('a')
    expect((await stack.service.auth.admin.getUserById(id)).data.user?.email).toBe(changed)
    expect((await signIn(email)).error?.status).toBe(400)
    expect((await signIn(changed, 'another one')).error).toBeNull()
  })

  test('are deleted: no sign-in, no refresh, their token is nobody; their rows of auth are gone', async () => {
    const { id, email } = await newUser()
    const { data } = await signIn(email)
    const { access_token, refresh_token } = data.session!
    expect((await stack.client().auth.getUser(access_token)).error).toBeNull()
    expect((await stack.service.auth.admin.deleteUser(id)).error).toBeNull()
    expect((await signIn(email)).error?.status).toBe(400)
    expect((await stack.client().auth.refreshSession({ refresh_token })).error?.status).toBe(400)
    expect((await stack.client().auth.getUser(access_token)).error?.code).toBe('user_not_found')
    expect((await stack.service.auth.admin.getUserById(id)).error?.code).toBe('user_not_found')
    expect(await stack.db.query('select from auth.sessions where user_id = $1', [id])).toEqual([])
  })

  test('are deleted softly: they can no longer be found or sign in, and the address is free again', async () => {
    const { id, email } = await newUser()
    const { data } = await signIn(email)
    expect((await stack.service.auth.admin.deleteUser(id, true)).error).toBeNull()
    expect((await signIn(email)).error?.status).toBe(400)
    expect(
      (await stack.client().auth.refreshSession({ refresh_token: data.session!.refresh_token })).error?.status,
    ).toBe(400)
    expect((await stack.service.auth.admin.createUser({ email, password: 'long enough' })).error).toBeNull()
  })
})

describe('a ban', () => {
  test('stops signing in and refreshing, and can be lifted', async () => {
    const { id, email } = await newUser()
    const { data } = await signIn(email)
    const { refresh_token } = data.session!
    expect((await stack.service.auth.admin.updateUserById(id, { ban_duration: '24h' })).data.user).toHaveProperty(
      'banned_until',
    )
    const refused = await signIn(email)
    expect([refused.error?.status, refused.error?.code, refused.data.session]).toEqual([400, 'user_banned', null])
    expect((await stack.client().auth.refreshSession({ refresh_token })).error?.code).toBe('user_banned')
    expect((await signIn(email, 'wrong password')).error?.code).toBe('invalid_credentials')
    await stack.service.auth.admin.updateUserById(id, { ban_duration: 'none' })
    expect((await signIn(email)).error).toBeNull()
    // The refused refresh did not use the token up.
    expect((await stack.client().auth.refreshSession({ refresh_token })).error).toBeNull()
  })

  test('leaves no session behind when it refuses', async () => {
    const { id, email } = await newUser({ ban_duration: '1h30m' })
    await signIn(email)
    expect(await stack.db.query('select from auth.sessions where user_id = $1', [id])).toEqual([])
  })

  test('needs a duration that can be read', async () => {
    const { id } = await newUser()
    const { error } = await stack.service.auth.admin.updateUserById(id, { ban_duration: 'two days' })
    expect([error?.status, error?.code]).toEqual([400, 'validation_failed'])
  })
})

describe('refusals', () => {
  test('an address in use, no address, a bad id, a short password', async () => {
    const create = async (attributes: object) => (await stack.service.auth.admin.createUser(attributes)).error
    expect((await create({ email: ALICE.email }))?.code).toBe('email_exists')
    expect((await create({ password: 'long enough' }))?.code).toBe('validation_failed')
    expect((await create({ email: 'x@y.example', id: 'not-a-uuid' }))?.code).toBe('validation_failed')
    expect((await create({ email: 'x@y.example', password: 'short' }))?.code).toBe('weak_password')
    expect((await create({ email: 'x@y.example', id: ALICE.id }))?.status).toBe(422)
    expect((await stack.service.auth.admin.getUserById(crypto.randomUUID())).error?.status).toBe(404)
  })

  test('what the local stack does not offer says so', async () => {
    const { error } = await stack.service.auth.admin.inviteUserByEmail('x@y.example')
    expect([error?.status, error?.code]).toEqual([422, 'not_available'])
    expect((await stack.service.auth.admin.generateLink({ type: 'magiclink', email: ALICE.email })).error?.code).toBe(
      'not_available',
    )
  })

  test('everybody but service_role → 403 not_admin; nobody → 401', async () => {
    const alice = await stack.signIn(ALICE.email, FIXTURE_PASSWORD)
    const token = (await alice.auth.getSession()).data.session?.access_token ?? ''
    const list = (headers: Record<string, string>) => fetch(`${stack.url}/auth/v1/admin/users`, { headers })
    expect((await list({ apikey: stack.keys.publishable })).status).toBe(403)
    expect((await list({ apikey: stack.keys.publishable, authorization: `Bearer ${token}` })).status).toBe(403)
    expect((await list({ apikey: stack.keys.secret, authorization: `Bearer ${token}` })).status).toBe(403)
    expect((await list({})).status).toBe(401)
    expect((await list({ apikey: stack.keys.secret })).status).toBe(200)
    expect(
      (await list({ apikey: stack.keys.serviceRole, authorization: `Bearer ${stack.keys.serviceRole}` })).status,
    ).toBe(200)
  })
})
