import { useQuery, useQueryClient } from '@tanstack/react-query'
import { lazy, Suspense, useState } from 'react'
import type { BudgetState } from '../../../../client/index.ts'
import { AgentName } from '../../app/agents.tsx'
import { useBackend } from '../../app/backend.ts'
import { Person } from '../../app/people.tsx'
import { Bar, Button, Card, ConfirmDialog, DataTable, ErrorNotice, Time, Waiting } from '../../ui/index.ts'
import { dayBefore, useUsage } from './data.ts'
import { SetBudget } from './set-budget.tsx'

const BudgetPlot = lazy(() => import('./budget-plot.tsx'))

const whole = new Intl.NumberFormat('en')

/** How far each budget is used up in its present period; admins set and remove them. */
export function Budgets() {
  const { bulkhead, can } = useBackend()
  const queryClient = useQueryClient()
  const [isSetting, setIsSetting] = useState(false)
  const [doomed, setDoomed] = useState<BudgetState | null>(null)
  const budgets = useQuery({
    queryKey: ['usage', 'budgets'],
    queryFn: () => bulkhead.budgetState(),
    refetchInterval: 10_000,
  })
  return (
    <Card
      title="Budgets"
      actions={
        can('admin') && (
          <Button small onClick={() => setIsSetting(true)}>
            Set a budget
          </Button>
        )
      }
    >
      {budgets.error && <ErrorNotice error={budgets.error} onRetry={() => void budgets.refetch()} />}
      {budgets.isPending && <Waiting what="Reading the budgets" />}
      {budgets.data?.length === 0 && (
        <p>
          No budget bounds {can('admin') ? 'this tenant' : 'you'}. Tokens are reserved against a budget before each call
          of a model, so one that is set cannot be overrun by runs that start together.
        </p>
      )}
      {budgets.data && budgets.data.length > 0 && (
        <DataTable
          caption="Budgets"
          rows={budgets.data}
          keyOf={(row) => `${row.budget_id}/${row.user_id ?? ''}/${row.agent_id ?? ''}`}
          columns={[
            { title: 'For', isHead: true, cell: (row) => <Subject row={row} /> },
            { title: 'Each', cell: ({ period }) => (period === 'total' ? 'ever' : period) },
            {
              title: 'Used',
              cell: (row) =>
                row.used_tokens === null ? (
                  `at most ${whole.format(row.max_tokens)} each`
                ) : (
                  <Bar
                    label="Used of the budget"
                    value={row.used_tokens + (row.reserved_tokens ?? 0)}
                    max={row.max_tokens}
                    text={`${whole.format(row.used_tokens)} of ${whole.format(row.max_tokens)}`}
                    tone={
                      row.used_tokens >= row.max_tokens
                        ? 'bad'
                        : row.used_tokens >= row.max_tokens * 0.8
                          ? 'warn'
                          : 'accent'
                    }
                  />
                ),
            },
            { title: 'Renews', cell: ({ renews_at }) => (renews_at ? <Time at={renews_at} /> : '–') },
            ...(can('admin')
              ? [
                  {
                    title: 'Actions',
                    hideTitle: true,
                    cell: (row: BudgetState) =>
                      // The rows of single people stand below the one that is set for each.
                      budgets.data.find(({ budget_id }) => budget_id === row.budget_id) === row && (
                        <Button small kind="danger" onClick={() => setDoomed(row)}>
                          Remove
                        </Button>
                      ),
                  },
                ]
              : []),
          ]}
        />
      )}
      {budgets.data && <MonthPlot budgets={budgets.data} />}
      {isSetting && <SetBudget onClose={() => setIsSetting(false)} />}
      {doomed && (
        <ConfirmDialog
          open
          danger
          title="Remove this budget?"
          action="Remove"
          busyLabel="Removing…"
          onClose={() => setDoomed(null)}
          onConfirm={async () => {
            await bulkhead.deleteBudget(doomed.budget_id)
            await queryClient.invalidateQueries({ queryKey: ['usage'] })
          }}
        >
          <p>What it bounded is bounded by the other budgets only. What was used stays counted.</p>
        </ConfirmDialog>
      )}
    </Card>
  )
}

function Subject({ row }: { row: BudgetState }) {
  if (row.user_id) return <Person id={row.user_id} />
  if (row.agent_id) return <AgentName id={row.agent_id} />
  if (row.scope === 'tenant') return <span>the tenant</span>
  return <span>each {row.scope === 'user' ? 'person' : row.scope}</span>
}

/** The month's budget that says most: of the tenant for admins, of oneself for others. */
function MonthPlot({ budgets }: { budgets: readonly BudgetState[] }) {
  const { user, can } = useBackend()
  const usage = useUsage(Number(dayBefore(0).slice(8)))
  const budget = budgets.find(
    ({ period, scope, used_tokens, user_id }) =>
      period === 'month' && used_tokens !== null && (can('admin') ? scope === 'tenant' : user_id === user.id),
  )
  if (!budget || !usage.data) return null
  return (
    <Suspense fallback={<Waiting what="Drawing the budget" />}>
      <BudgetPlot budget={budget} rows={usage.data} />
    </Suspense>
  )
}
