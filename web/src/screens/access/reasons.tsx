import { Badge, Row } from '../../ui/index.ts'

export type Reason = { reason: 'owner' | 'tenant' | 'granted' | 'group'; group_id?: string; group_name?: string }

const WORDS: Record<Reason['reason'], string> = {
  owner: 'it is theirs',
  tenant: 'the whole tenant may',
  granted: 'granted to them',
  group: 'granted to',
}

/** Why somebody sees something: each way is enough by itself. */
export function Reasons({ reasons }: { reasons: unknown }) {
  return (
    <Row>
      {(reasons as Reason[]).map(({ reason, group_id, group_name }) => (
        <Badge key={`${reason}${group_id ?? ''}`} tone={reason === 'tenant' ? 'neutral' : 'accent'}>
          {reason === 'group' ? `granted to the group ${group_name ?? ''}` : WORDS[reason]}
        </Badge>
      ))}
    </Row>
  )
}
