import { Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from 'recharts'
import { dayBefore, type Split, totalsOf, type UsageRow, useSplit } from './data.ts'
import styles from './usage.module.css'

/** More than this many parts are not to be told apart; the rest is drawn as one. */
const PARTS = 4
const REST = 'rest'
const compact = new Intl.NumberFormat('en', { notation: 'compact' })
const whole = new Intl.NumberFormat('en')

/** Tokens of each day as stacked bars. The table below has the same figures. */
export default function UsagePlot({ rows, by, days }: { rows: readonly UsageRow[]; by: Split; days: number }) {
  const { keyOf, nameOf } = useSplit(by)
  const keys = totalsOf(rows, keyOf).map(({ key }) => key)
  const shown = keys.slice(0, PARTS)
  const parts = keys.length > PARTS ? [...shown, REST] : shown
  const byDay = new Map<string, Record<string, number | string>>()
  for (let ago = days - 1; ago >= 0; ago--) byDay.set(dayBefore(ago), { day: dayBefore(ago) })
  for (const row of rows) {
    const sums = byDay.get(row.day)
    if (!sums) continue
    const key = keyOf(row)
    const part = `part${parts.indexOf(shown.includes(key) ? key : REST)}`
    sums[part] = Number(sums[part] ?? 0) + row.total_tokens
  }
  return (
    <figure className={styles['plot']} aria-label={`Tokens of the last ${days} days by ${by}`}>
      <ResponsiveContainer width="100%" height={280}>
        <BarChart data={[...byDay.values()]} margin={{ top: 8, right: 8, bottom: 0, left: 0 }} accessibilityLayer>
          <CartesianGrid vertical={false} stroke="var(--line)" />
          <XAxis
            dataKey="day"
            tickFormatter={(day: string) => day.slice(5)}
            stroke="var(--text-2)"
            fontSize={12}
            minTickGap={16}
          />
          <YAxis
            tickFormatter={(tokens: number) => compact.format(tokens)}
            stroke="var(--text-2)"
            fontSize={12}
            width={48}
          />
          <Tooltip
            cursor={{ fill: 'var(--surface-3)' }}
            contentStyle={{
              background: 'var(--surface)',
              border: '1px solid var(--line-strong)',
              color: 'var(--text)',
            }}
            formatter={(tokens) => `${whole.format(Number(tokens))} tokens`}
          />
          <Legend />
          {parts.map((key, index) => (
            <Bar
              key={key}
              dataKey={`part${index}`}
              name={key === REST && index === PARTS ? 'everything else' : nameOf(key)}
              stackId="tokens"
              fill={`var(--plot-${index + 1})`}
              isAnimationActive={false}
            />
          ))}
        </BarChart>
      </ResponsiveContainer>
    </figure>
  )
}
