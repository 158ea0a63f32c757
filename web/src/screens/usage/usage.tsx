import { lazy, Suspense, useState } from 'react'
import { useBackend } from '../../app/backend.ts'
import { Card, EmptyState, ErrorNotice, PageHeader, Row, SelectField, Stack, Waiting } from '../../ui/index.ts'
import { Budgets } from './budgets.tsx'
import { useUsage } from './data.ts'
import { Totals } from './totals.tsx'

const UsagePlot = lazy(() => import('./usage-plot.tsx'))

/** Tokens over time, by person, agent or model, and how far the budgets are used up. */
export default function Usage() {
  const { can } = useBackend()
  const [days, setDays] = useState(30)
  const [by, setBy] = useState<'person' | 'agent' | 'model'>('person')
  const usage = useUsage(days)
  return (
    <>
      <PageHeader
        title="Usage"
        description={
          can('admin')
            ? 'Tokens of the whole tenant, attributed call by call.'
            : 'Tokens that were used for you. Admins see those of the whole tenant.'
        }
      />
      <Stack gap={5}>
        <Budgets />
        <Card
          title="Tokens by day"
          actions={
            <Row>
              <SelectField
                label="Time"
                hideLabel
                value={String(days)}
                onChange={(event) => setDays(Number(event.currentTarget.value))}
                options={[7, 30, 90].map((each) => ({ value: String(each), label: `${each} days` }))}
              />
              <SelectField
                label="Split by"
                hideLabel
                value={by}
                onChange={(event) => setBy(event.currentTarget.value as typeof by)}
                options={[
                  { value: 'person', label: 'by person' },
                  { value: 'agent', label: 'by agent' },
                  { value: 'model', label: 'by model' },
                ]}
              />
            </Row>
          }
        >
          {usage.error && <ErrorNotice error={usage.error} onRetry={() => void usage.refetch()} />}
          {usage.isPending && <Waiting what="Adding up the tokens" />}
          {usage.data?.length === 0 && (
            <EmptyState title="Nothing was used in this time">
              Each call of a model and each chunk that is embedded shows up here, with whom and which agent it was for.
            </EmptyState>
          )}
          {usage.data && usage.data.length > 0 && (
            <Stack>
              <Suspense fallback={<Waiting what="Drawing the plot" />}>
                <UsagePlot rows={usage.data} by={by} days={days} />
              </Suspense>
              <Totals rows={usage.data} by={by} />
            </Stack>
          )}
        </Card>
      </Stack>
    </>
  )
}
