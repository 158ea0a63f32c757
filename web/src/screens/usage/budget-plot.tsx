import { CartesianGrid, Line, LineChart, ReferenceLine, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts'
import type { BudgetState } from '../../../../client/index.ts'
import { dayBefore, type UsageRow } from './data.ts'
import styles from './usage.module.css'

const compact = new Intl.NumberFormat('en', { notation: 'compact' })
const whole = new Intl.NumberFormat('en')
const DAY_MS = 86_400_000

/** What a budget has been used up by, day after day of its present month, against what it allows. */
export default function BudgetPlot({ budget, rows }: { budget: BudgetState; rows: readonly UsageRow[] }) {
  const first = budget.period_start.slice(0, 10)
  const days = Math.round((Date.parse(dayBefore(0)) - Date.parse(first)) / DAY_MS)
  let used = 0
  const points = Array.from({ length: days + 1 }, (_nothing, index) => {
    const day = dayBefore(days - index)
    // Embeddings are attributed too, but no budget counts them.
    for (const row of rows) {
      const isMeant = row.kind === 'chat' && row.day === day && (!budget.user_id || row.user_id === budget.user_id)
      if (isMeant) used += row.total_tokens
    }
    return { day, used }
  })
  return (
    <figure
      className={styles['plot']}
      aria-label={`Budget of ${whole.format(budget.max_tokens)} tokens, used up to ${whole.format(used)}`}
    >
      <figcaption>Budget of this month</figcaption>
      <ResponsiveContainer width="100%" height={200}>
        <LineChart data={points} margin={{ top: 8, right: 8, bottom: 0, left: 0 }} accessibilityLayer>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="day"
            tickFormatter={(day: string) => day.slice(5)}
            stroke="var(--text-2)"
            fontSize={12}
            minTickGap={16}
          />
          <YAxis
            domain={[0, Math.max(budget.max_tokens, used)]}
            tickFormatter={(tokens: number) => compact.format(tokens)}
            stroke="var(--text-2)"
            fontSize={12}
            width={48}
          />
          <Tooltip
            contentStyle={{
              background: 'var(--surface)',
              border: '1px solid var(--line-strong)',
              color: 'var(--text)',
            }}
            formatter={(tokens) => `${whole.format(Number(tokens))} tokens`}
          />
          <ReferenceLine
            y={budget.max_tokens}
            stroke="var(--bad)"
            strokeDasharray="5 4"
            label={{ value: 'budget', fill: 'var(--bad)', fontSize: 12, position: 'insideTopLeft' }}
          />
          <Line
            dataKey="used"
            name="used so far"
            stroke="var(--plot-1)"
            strokeWidth={2}
            dot={false}
            isAnimationActive={false}
          />
        </LineChart>
      </ResponsiveContainer>
    </figure>
  )
}
