import { ShieldCheck } from 'lucide-react'
import { Link } from 'wouter'
import { links } from '../../lib/links.ts'
import { EmptyState, ErrorNotice, Stack, Waiting } from '../../ui/index.ts'
import { ApprovalCard } from './approval-card.tsx'
import { useWaiting } from './data.ts'

/** What waits now, the oldest first. */
export function Inbox() {
  const waiting = useWaiting()
  if (waiting.error) return <ErrorNotice error={waiting.error} onRetry={() => void waiting.refetch()} />
  if (!waiting.data) return <Waiting what="Asking what waits for you" />
  const { mine, others } = waiting.data
  if (mine.length + others.length === 0) {
    return (
      <EmptyState
        title="Nothing waits"
        icon={<ShieldCheck size={40} />}
        actions={<Link href="~/agents">Go to the agents</Link>}
      >
        A tool asks when its permissions say <em>ask</em>. Admins set that per tool and role under Agents; hooks of the
        type approval ask too.
      </EmptyState>
    )
  }
  return (
    <div aria-live="polite">
      <Stack gap={5}>
        {mine.length > 0 && (
          <Stack>
            <h2>For you to decide ({mine.length})</h2>
            {mine.map((approval) => (
              <ApprovalCard key={approval.id} approval={approval} canDecide />
            ))}
          </Stack>
        )}
        {others.length > 0 && (
          <Stack>
            <h2>Waiting for somebody else ({others.length})</h2>
            {others.map((approval) => (
              <ApprovalCard key={approval.id} approval={approval} canDecide={false} />
            ))}
          </Stack>
        )}
        <p>
          Runs that wait are also under <Link href={links.runs()}>Runs</Link>.
        </p>
      </Stack>
    </div>
  )
}
