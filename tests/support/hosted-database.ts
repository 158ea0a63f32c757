import { randomBytes } from 'node:crypto'
import { bootstrap } from '../../local/database/bootstrap.ts'
import type { SessionDatabase } from '../../local/database/database.ts'
import { NativeDatabase, openNative } from '../../local/database/native.ts'

/** Two views of one database: `superuser` sees all; `owner` is what `postgres` is on hosted Supabase. */
export type HostedDatabase = { superuser: SessionDatabase; owner: SessionDatabase; role: string }

/** The local stack itself refuses to run as anybody but a superuser. */
const openAsOwner = (url: string): NativeDatabase => new NativeDatabase(url, 1)

/**
 * Runs `fn` on a database of a native server as a hosted project has it: its owner may log in, create roles and databases and
 * bypasses row-level security, but is no superuser and owns nothing in the platform's schemas.
 *
 * Emulated, because only the platform can do it for real:
 * - extensions are there already; on the platform supautils lets `postgres` create them,
 * - `postgres` may make policies on realtime.messages (supautils again); here the owner is a member of the role that owns the
 *   table, which would allow more. Callers must check that nothing but the policy was made there,
 * - `postgres` may make PostgREST's settings for the role `authenticator` (supautils again); here the owner has a grant for the one
 *   that the migrations make,
 * - rights of `postgres` on the tables of Auth and Storage, and its default privileges in `public`, are granted by hand.
 *
 * @param serverUrl a native server, as a superuser
 */
export async function withHostedDatabase<T>(serverUrl: string, fn: (hosted: HostedDatabase) => Promise<T>): Promise<T> {
  const name = `bulkhead_hosted_${randomBytes(6).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  const server = await openNative({ url: serverUrl, poolSize: 1 })
  const address = (user?: string): string => {
    const url = new URL(serverUrl)
    url.pathname = `/${name}`
    if (user) Object.assign(url, { username: user, password })
    return url.href
  }
  const opened: SessionDatabase[] = []
  await server.query(
    `create role ${name} login createdb createrole replication bypassrls nosuperuser password '${password}'`,
  )
  try {
    await server.query(`create database ${name} owner ${name}`)
    const superuser = await openNative({ url: address(), poolSize: 2 })
    opened.push(superuser)
    await bootstrap(superuser)
    await superuser.exec(`
      create extension if not exists vector with schema extensions;
      alter table realtime.messages owner to supabase_realtime_admin;
      grant supabase_realtime_admin, anon, authenticated, service_role to ${name};
      grant authenticator to ${name} with admin true, inherit false, set false;
      grant set on parameter pgrst.db_pre_request to ${name};
      grant usage on schema extensions, auth, storage, realtime, vault to ${name};
      grant all on all tables in schema auth, storage to ${name};
      grant execute on all functions in schema auth, storage, realtime to ${name};
      alter default privileges for role ${name} in schema public grant all on tables to anon, authenticated, service_role;
      alter default privileges for role ${name} in schema public grant all on functions to anon, authenticated, service_role;
      alter default privileges for role ${name} in schema public grant all on sequences to anon, authenticated, service_role;
    `)
    const owner = openAsOwner(address(name))
    opened.push(owner)
    return await fn({ superuser, owner, role: name })
  } finally {
    for (const database of opened) await database.close()
    await server.query(`drop database if exists ${name} with (force)`)
    await server.query(`revoke set on parameter pgrst.db_pre_request from ${name}`)
    await server.query(`drop role ${name}`)
    await server.close()
  }
}
