import { usePeople } from '../../app/people.tsx'
import { Row, SelectField, TextField } from '../../ui/index.ts'

export type Filter = {
  /** A family of actions, e.g. `source`; empty: all. */
  family: string
  /** In whose name; empty: everybody. */
  actorId: string
  /** A document, run, person or other subject by id; empty: all. */
  subjectId: string
  /** First and last day in the reader's time zone, `2026-11-21`; empty: open. */
  from: string
  to: string
}

export const NO_FILTER: Filter = { family: '', actorId: '', subjectId: '', from: '', to: '' }

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const FAMILIES = [
  'tenant',
  'membership',
  'invitation',
  'group',
  'source',
  'knowledge_base',
  'agent',
  'tool',
  'mcp_server',
  'hook',
  'run',
  'call',
  'answer',
  'approval',
  'session',
  'budget',
  'schedule',
]

/** Narrows the log. */
export function Filters({ filter, onChange }: { filter: Filter; onChange: (filter: Filter) => void }) {
  const people = usePeople()
  const isOddId = filter.subjectId !== '' && !UUID.test(filter.subjectId)
  return (
    <Row even>
      <SelectField
        label="What"
        value={filter.family}
        onChange={(event) => onChange({ ...filter, family: event.currentTarget.value })}
        options={[
          { value: '', label: 'everything' },
          ...FAMILIES.map((family) => ({ value: family, label: family.replaceAll('_', ' ') })),
        ]}
      />
      <SelectField
        label="In the name of"
        value={filter.actorId}
        onChange={(event) => onChange({ ...filter, actorId: event.currentTarget.value })}
        options={[
          { value: '', label: 'everybody' },
          ...(people.data ?? []).map(({ user_id, email }) => ({ value: user_id, label: email })),
        ]}
      />
      <TextField
        label="About (id)"
        value={filter.subjectId}
        placeholder="document, run, person …"
        error={isOddId ? 'An id has the form 01234567-89ab-cdef-0123-456789abcdef.' : null}
        onChange={(event) => onChange({ ...filter, subjectId: event.currentTarget.value.trim() })}
      />
      <TextField
        label="From"
        type="date"
        value={filter.from}
        onChange={(event) => onChange({ ...filter, from: event.currentTarget.value })}
      />
      <TextField
        label="To"
        type="date"
        value={filter.to}
        onChange={(event) => onChange({ ...filter, to: event.currentTarget.value })}
      />
    </Row>
  )
}
