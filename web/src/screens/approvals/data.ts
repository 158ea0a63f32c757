import { useQuery } from '@tanstack/react-query'
import { useEffect } from 'react'
import { watchAccount } from '../../../../client/index.ts'
import type { Database } from '../../../../client/database.types.ts'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'

export type Approval = Database['ai']['Tables']['approvals']['Row']
export type Decision = Omit<Database['ai']['Tables']['approval_decisions']['Row'], 'principal_id'>

/** Broadcasts tell at once; this is for those that get lost, and for calls that expire. */
const POLL_MS = 10_000
export const HISTORY_PAGE = 20

/** What waits: `mine` is for the caller to decide, `others` is readable and for somebody else. */
export function useWaiting() {
  const { supabase, user } = useBackend()
  const waiting = useQuery({
    queryKey: ['approvals', 'waiting'],
    queryFn: async ({ signal }): Promise<{ mine: Approval[]; others: Approval[] }> => {
      const [mine, pending] = await Promise.all([
        supabase.schema('ai').rpc('approvals_to_decide', { max_rows: 100 }).abortSignal(signal),
        supabase
          .schema('ai')
          .from('approvals')
          .select('*')
          .eq('status', 'pending')
          .order('created_at')
          .limit(100)
          .abortSignal(signal),
      ])
      const toDecide = dataOf(mine) as Approval[]
      const ids = new Set(toDecide.map(({ id }) => id))
      return { mine: toDecide, others: dataOf(pending).filter(({ id }) => !ids.has(id)) }
    },
    refetchInterval: POLL_MS,
  })
  const { refetch } = waiting
  useEffect(
    () => watchAccount(supabase, user.id, { approvalChanged: () => void refetch() }),
    [supabase, user.id, refetch],
  )
  return waiting
}

/** Decided and expired ones, the latest first, with everybody's word. */
export function useHistory(offset: number) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['approvals', 'history', offset],
    queryFn: async ({ signal }): Promise<{ approval: Approval; decisions: Decision[] }[]> => {
      const approvals = dataOf(
        await supabase
          .schema('ai')
          .from('approvals')
          .select('*')
          .neq('status', 'pending')
          .order('created_at', { ascending: false })
          .range(offset, offset + HISTORY_PAGE - 1)
          .abortSignal(signal),
      )
      if (approvals.length === 0) return []
      const decisions = dataOf(
        await supabase
          .schema('ai')
          .from('approval_decisions')
          .select('tenant_id, approval_id, user_id, approved, reason, created_at')
          .in(
            'approval_id',
            approvals.map(({ id }) => id),
          )
          .order('created_at')
          .abortSignal(signal),
      )
      return approvals.map((approval) => ({
        approval,
        decisions: decisions.filter(({ approval_id }) => approval_id === approval.id),
      }))
    },
  })
}

/** Groups of this tenant, to name who may decide. */
export function useGroupNames() {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['approvals', 'groups'],
    queryFn: async ({ signal }) =>
      new Map(
        dataOf(await supabase.from('groups').select('id, name').abortSignal(signal)).map(({ id, name }) => [id, name]),
      ),
    staleTime: 60_000,
  })
}
