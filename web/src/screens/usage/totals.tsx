import { DataTable } from '../../ui/index.ts'
import { type Split, totalsOf, type UsageRow, useSplit } from './data.ts'

const whole = new Intl.NumberFormat('en')

/** The sums of the time shown, one row for each part. */
export function Totals({ rows, by }: { rows: readonly UsageRow[]; by: Split }) {
  const { keyOf, nameOf } = useSplit(by)
  return (
    <DataTable
      caption={`Tokens by ${by}`}
      rows={totalsOf(rows, keyOf)}
      keyOf={({ key }) => key}
      columns={[
        {
          title: by === 'person' ? 'Person' : by === 'agent' ? 'Agent' : 'Model',
          isHead: true,
          cell: ({ key }) => nameOf(key),
        },
        { title: 'Calls', align: 'end', cell: ({ calls }) => whole.format(calls) },
        { title: 'Prompt', align: 'end', cell: ({ prompt }) => whole.format(prompt) },
        { title: 'Answer', align: 'end', cell: ({ completion }) => whole.format(completion) },
        { title: 'Total', align: 'end', cell: ({ total }) => whole.format(total) },
      ]}
    />
  )
}
