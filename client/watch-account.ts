import { listenTo } from './run-channel.ts'
import type { AnyClient } from './connection.ts'

/** The caller came into a tenant or a group, left it, or has another role there. */
export type MembershipChanged = {
  tenant_id: string
  change: 'added' | 'removed' | 'role' | 'groups'
  role?: string | null
}
/** An approval waits, or waits no more, that the caller may decide about or whose run is theirs. */
export type ApprovalChanged = { approval_id: string; tenant_id: string; run_id: string; status: string }

export type AccountListener = {
  membershipChanged?: (change: MembershipChanged) => void
  approvalChanged?: (change: ApprovalChanged) => void
  /** The channel is open; also after each interruption. Read again what may have changed meanwhile. */
  up?: () => void
  /** The channel is not open for the time being, or will not be again: who is in no tenant any more is not let in. */
  down?: () => void
}

/**
 * Tells what changes for the signed-in person, over their private channel `chat:{user id}`, which is shared with the runs that are
 * followed there. Changes carry ids and a state: read again what they are about. A broadcast may get lost; look again now and then.
 * @returns a function that stops it.
 */
export function watchAccount(supabase: AnyClient, userId: string, listener: AccountListener): () => void {
  return listenTo(supabase, `chat:${userId}`, {
    event: () => undefined,
    notice(name, payload) {
      if (name === 'membership_changed') listener.membershipChanged?.(payload as MembershipChanged)
      if (name === 'approval_changed') listener.approvalChanged?.(payload as ApprovalChanged)
    },
    up: () => listener.up?.(),
    down: () => listener.down?.(),
  })
}
