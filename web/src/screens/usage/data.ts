import { useQuery } from '@tanstack/react-query'
import type { Database } from '../../../../client/database.types.ts'
import { useAgents } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { usePeople } from '../../app/people.tsx'

export type UsageRow = Database['ai']['Functions']['usage_by_day']['Returns'][number]
export type Split = 'person' | 'agent' | 'model'

const DAY_MS = 86_400_000

/** The day that many days ago, in UTC as the database counts them: `2026-11-21`. */
export const dayBefore = (days: number): string => new Date(Date.now() - days * DAY_MS).toISOString().slice(0, 10)

export function useUsage(days: number) {
  const { supabase, tenant } = useBackend()
  return useQuery({
    queryKey: ['usage', days],
    queryFn: async ({ signal }): Promise<UsageRow[]> =>
      dataOf(
        await supabase
          .schema('ai')
          .rpc('usage_by_day', { from_day: dayBefore(days - 1) })
          .abortSignal(signal),
      ),
  })
}

/** Names for the parts of a split: `keyOf` a row, and what that key is called. */
export function useSplit(by: Split): { keyOf: (row: UsageRow) => string; nameOf: (key: string) => string } {
  const people = usePeople()
  const agents = useAgents()
  const short = (id: string): string => `${id.slice(0, 8)}…`
  if (by === 'model') return { keyOf: (row) => row.model ?? '', nameOf: (key) => key || 'unknown model' }
  if (by === 'agent') {
    return {
      keyOf: (row) => row.agent_id ?? '',
      nameOf: (key) => (key ? (agents.data?.find(({ id }) => id === key)?.name ?? short(key)) : 'no agent'),
    }
  }
  return {
    keyOf: (row) => row.user_id ?? '',
    nameOf: (key) => (key ? (people.data?.find(({ user_id }) => user_id === key)?.email ?? short(key)) : 'the backend'),
  }
}

/** The keys of a split, the greatest use first, with their tokens. */
export function totalsOf(rows: readonly UsageRow[], keyOf: (row: UsageRow) => string) {
  const totals = new Map<string, { key: string; calls: number; prompt: number; completion: number; total: number }>()
  for (const row of rows) {
    const key = keyOf(row)
    const sum = totals.get(key) ?? { key, calls: 0, prompt: 0, completion: 0, total: 0 }
    sum.calls += row.calls
    sum.prompt += row.prompt_tokens
    sum.completion += row.completion_tokens
    sum.total += row.total_tokens
    totals.set(key, sum)
  }
  return [...totals.values()].sort((a, b) => b.total - a.total)
}
