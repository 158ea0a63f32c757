import { useState } from 'react'
import { Link } from 'wouter'
import { Person } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  DataTable,
  EmptyState,
  ErrorNotice,
  JsonView,
  Pager,
  Stack,
  StatusBadge,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { HISTORY_PAGE, useHistory } from './data.ts'

/** What was decided, by whom and why. */
export function History() {
  const [offset, setOffset] = useState(0)
  const history = useHistory(offset)
  if (history.error) return <ErrorNotice error={history.error} onRetry={() => void history.refetch()} />
  if (!history.data) return <Waiting what="Reading earlier decisions" />
  if (history.data.length === 0 && offset === 0) {
    return (
      <EmptyState title="Nothing has been decided yet">
        Decisions stay here, with the arguments they were about and the reason given.
      </EmptyState>
    )
  }
  return (
    <Stack>
      <DataTable
        caption="Decided approvals"
        rows={history.data}
        keyOf={({ approval }) => approval.id}
        columns={[
          {
            title: 'Call',
            isHead: true,
            cell: ({ approval }) => (
              <details>
                <summary>
                  <code>{approval.tool_name}</code>
                </summary>
                <JsonView value={approval.tool_input} label={`Arguments of ${approval.tool_name}`} />
              </details>
            ),
          },
          { title: 'Outcome', cell: ({ approval }) => <StatusBadge status={approval.status} /> },
          { title: 'For', cell: ({ approval }) => <Person id={approval.user_id} /> },
          {
            title: 'Decided by',
            cell: ({ approval, decisions }) =>
              decisions.length === 0 ? (
                approval.status === 'expired' ? (
                  'nobody in time'
                ) : (
                  <Person id={approval.decided_by} />
                )
              ) : (
                <Stack gap={2}>
                  {decisions.map((decision) => (
                    <span key={decision.created_at}>
                      <Person id={decision.user_id} /> {decision.approved ? 'approved' : 'denied'}
                      {decision.reason && <>: “{decision.reason}”</>}
                    </span>
                  ))}
                </Stack>
              ),
          },
          { title: 'When', cell: ({ approval }) => <Time at={approval.decided_at ?? approval.created_at} /> },
          {
            title: 'Run',
            hideTitle: true,
            cell: ({ approval }) => <Link href={links.run(approval.run_id)}>Open the run</Link>,
          },
        ]}
      />
      <Pager offset={offset} pageSize={HISTORY_PAGE} shown={history.data.length} onOffset={setOffset} />
    </Stack>
  )
}
