import { tablesOf } from './connection.ts'
import type { Connection } from './connection.ts'
import { BulkheadError } from './errors.ts'

export type Role = 'viewer' | 'member' | 'admin' | 'owner'

/** A member of a tenant. */
export type Person = {
  user_id: string
  email: string
  role: Role
  joined_at: string
  groups: { id: string; name: string }[]
}

/** An invitation as the tenant's admins see it. */
export type Invitation = {
  id: string
  tenant_id: string
  email: string
  role: Role
  /** Null: made with the secret key. */
  invited_by: string | null
  created_at: string
  expires_at: string
  accepted_at: string | null
}

/** An invitation as the invited person sees it. */
export type MyInvitation = {
  id: string
  tenant_id: string
  tenant_name: string
  role: Role
  invited_by_email: string | null
  created_at: string
  expires_at: string
}

const INVITATION_COLUMNS = 'id,tenant_id,email,role,invited_by,created_at,expires_at,accepted_at'

const refused = (message: string) => new BulkheadError(message, { code: 'forbidden', status: 403 })

/** Who is in a tenant, and who is invited. `tenantId`: default that of the client, or the only one. */
export function peopleMethods(connection: Connection) {
  const table = (name: string) => tablesOf(connection, 'public').from(name)
  return {
    /** The members of a tenant, owners first. Nobody for a tenant that is not the caller's. */
    async people(tenantId?: string): Promise<Person[]> {
      return await connection.rpc<Person[]>('public', 'people', { tenant_id: await connection.tenant(tenantId) })
    },

    /** Gives a member another role: admins below owner, owners all. Throws `forbidden`, and `last_owner`. */
    async changeRole(userId: string, role: Role, tenantId?: string): Promise<void> {
      const tenant = await connection.tenant(tenantId)
      const changed = await connection.query<unknown[]>(
        table('memberships').update({ role }).eq('tenant_id', tenant).eq('user_id', userId).select('user_id'),
      )
      if (changed.length === 0) throw refused('You may not change the role of this person.')
    },

    /** Removes a member, or oneself. They see nothing from their next statement on. Throws `forbidden`, and `last_owner`. */
    async removeMember(userId: string, tenantId?: string): Promise<void> {
      const tenant = await connection.tenant(tenantId)
      const removed = await connection.query<unknown[]>(
        table('memberships').delete().eq('tenant_id', tenant).eq('user_id', userId).select('user_id'),
      )
      if (removed.length === 0) throw refused('You may not remove this person.')
    },

    /** The open invitations the signed-in person can accept, of any tenant: those to their confirmed e-mail address. */
    async myInvitations(): Promise<MyInvitation[]> {
      return await connection.rpc<MyInvitation[]>('public', 'my_invitations')
    },

    /** Accepts one; refresh the session afterwards, its token may name a tenant. Throws `not_found`. */
    async acceptInvitation(id: string): Promise<{ tenant_id: string; user_id: string; role: Role }> {
      return await connection.rpc('public', 'accept_invitation', { invitation_id: id })
    },

    /** The invitations of a tenant, the newest first; nothing for who is no admin. */
    async invitations(tenantId?: string): Promise<Invitation[]> {
      return await connection.query<Invitation[]>(
        table('invitations')
          .select(INVITATION_COLUMNS)
          .eq('tenant_id', await connection.tenant(tenantId))
          .order('created_at', { ascending: false }),
      )
    },

    /**
     * Invites an address for a week, or until `expiresAt` (30 days at most). No mail is sent: tell them to sign in with that
     * address. Throws `forbidden` for who is no admin (for owners: no owner), `conflict` when one is open already.
     */
    async invite(invitation: { email: string; role?: Role; expiresAt?: Date; tenantId?: string }): Promise<Invitation> {
      const [row] = await connection.query<Invitation[]>(
        table('invitations')
          .insert({
            tenant_id: await connection.tenant(invitation.tenantId),
            email: invitation.email.trim().toLowerCase(),
            role: invitation.role ?? 'member',
            ...(invitation.expiresAt ? { expires_at: invitation.expiresAt.toISOString() } : {}),
          })
          .select(INVITATION_COLUMNS),
      )
      return row as Invitation
    },

    /** Withdraws an invitation. Throws `not_found` when there is none the caller may withdraw. */
    async withdrawInvitation(id: string): Promise<void> {
      const gone = await connection.query<unknown[]>(table('invitations').delete().eq('id', id).select('id'))
      if (gone.length === 0) throw new BulkheadError('Invitation not found.', { code: 'not_found', status: 404 })
    },
  }
}
