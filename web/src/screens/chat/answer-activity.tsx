import { useQuery } from '@tanstack/react-query'
import { ListTree } from 'lucide-react'
import { useState } from 'react'
import { useBackend } from '../../app/backend.ts'
import { ErrorNotice, Waiting } from '../../ui/index.ts'
import { callCount, type Activity } from '../runs/activity.ts'
import { readActivity } from '../runs/data.ts'
import { Steps } from '../runs/steps.tsx'
import styles from './chat.module.css'
import type { TurnRun } from './data.ts'

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`

/** Steps and calls of tools behind an answer: open while they happen, if one likes, and folded afterwards. */
export function AnswerActivity(props: {
  /** Null where the run was over when it was read: then it is read when somebody looks. */
  live: Activity | null
  run: TurnRun | null
  isActive: boolean
}) {
  const { live, run, isActive } = props
  const [isOpen, setIsOpen] = useState(false)
  const calls = live ? callCount(live) : (run?.tool_call_count ?? 0)
  const notes = live?.steps.some((step) => step.notes.length > 0 || step.reasoning !== '') ?? false
  if (calls === 0 && !notes) return null
  const last = live?.steps.at(-1)
  const current = isActive ? last?.calls.at(-1) : undefined
  return (
    <details className={styles['activity']} open={isOpen} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary>
        <ListTree size={15} aria-hidden />
        <span>
          {live && live.steps.length > 0 && `${counted(live.steps.length, 'step')}, `}
          {counted(calls, 'tool call')}
        </span>
        {current && <code>{current.toolName}</code>}
      </summary>
      {isOpen && (live ? <Steps steps={live.steps} isActive={isActive} /> : run && <StoredActivity run={run} />)}
    </details>
  )
}

function StoredActivity({ run }: { run: TurnRun }) {
  const { supabase } = useBackend()
  const activity = useQuery({
    queryKey: ['runs', 'activity', run.id],
    queryFn: ({ signal }) => readActivity(supabase, run.id, signal),
    staleTime: Infinity,
  })
  if (activity.error) return <ErrorNotice error={activity.error} onRetry={() => void activity.refetch()} />
  if (!activity.data) return <Waiting what="Reading the steps" small />
  return <Steps steps={activity.data.steps} isActive={false} />
}
