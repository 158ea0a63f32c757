import { Button, EmptyState } from '../ui/index.ts'
import { supabase } from './backend.ts'
import type { Membership } from './memberships.ts'

/** What a window shows once its person no longer belongs: nothing of the tenant, and why. */
export function Removed(props: { from: Membership; others: Membership[]; onChoose: (tenantId: string) => void }) {
  const { from, others, onChoose } = props
  return (
    <main>
      <EmptyState
        title={`You are no longer a member of ${from.tenantName}`}
        actions={
          <>
            {others.map((other) => (
              <Button key={other.tenantId} onClick={() => onChoose(other.tenantId)}>
                Go to {other.tenantName}
              </Button>
            ))}
            <Button kind="quiet" onClick={() => void supabase.auth.signOut()}>
              Sign out
            </Button>
          </>
        }
      >
        Your membership has ended, so everything that was open here has been closed. An owner or admin of{' '}
        {from.tenantName} can invite you again.
      </EmptyState>
    </main>
  )
}
