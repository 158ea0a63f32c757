import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { links } from '../../lib/links.ts'
import { ErrorNotice, Notice, Stack, Waiting } from '../../ui/index.ts'
import { ApprovalCard } from '../approvals/approval-card.tsx'
import type { TurnRun } from './data.ts'

/** The calls of a run that wait for a person, with the decision where it is this person's. */
export function AwaitedApprovals({ run }: { run: TurnRun }) {
  const { supabase } = useBackend()
  const waiting = useQuery({
    // Below `approvals`: a decision on that screen shows here as well.
    queryKey: ['approvals', 'of-run', run.id],
    queryFn: async ({ signal }) => {
      const ai = supabase.schema('ai')
      const [pending, mine] = await Promise.all([
        ai.from('approvals').select('*').eq('run_id', run.id).eq('status', 'pending').abortSignal(signal),
        ai.rpc('approvals_to_decide', { max_rows: 500 }).abortSignal(signal),
      ])
      const toDecide = new Set(dataOf(mine).map(({ id }) => id))
      return dataOf(pending).map((approval) => ({ approval, canDecide: toDecide.has(approval.id) }))
    },
    refetchInterval: 3_000,
  })
  if (waiting.error) return <ErrorNotice error={waiting.error} onRetry={() => void waiting.refetch()} />
  if (!waiting.data) return <Waiting what="Looking what is waited for" small />
  if (run.wait_reason === 'unsafe_call') {
    return (
      <Notice tone="warn">
        A call was interrupted, and nobody knows whether it took effect.{' '}
        <Link href={links.run(run.run_id)}>Decide on the run</Link> whether it is made again.
      </Notice>
    )
  }
  return (
    <Stack gap={3}>
      {waiting.data.map(({ approval, canDecide }) => (
        <ApprovalCard key={approval.id} approval={approval} canDecide={canDecide} />
      ))}
      <p>
        The answer goes on when a person has decided.{' '}
        <Link href={links.approvals()}>All that waits is under Approvals</Link>.
      </p>
    </Stack>
  )
}
