import { useMutation } from '@tanstack/react-query'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Badge, Button, Card, Copyable, ErrorNotice, Row } from '../../ui/index.ts'

type Verdict = {
  ok: boolean
  checked: number
  first_bad_seq: number | null
  reason: string | null
  head_hash: string
  last_seq: number
  is_complete: boolean
}

const WORDS: Record<string, string> = {
  gap: 'a row is missing',
  row_changed: 'a row does not fit its hash',
  link_broken: 'a row does not follow the one before',
  end_missing: 'rows at the end are missing',
  head_changed: 'the head of the chain is not the last row',
  anchor_changed: 'the row to begin at has another hash',
}

/** Has the database compute the chain anew, to its end. */
export function ChainCheck() {
  const { supabase, tenant } = useBackend()
  const check = useMutation({
    mutationFn: async (): Promise<Verdict> => {
      let checked = 0
      let from: { after_seq?: number; after_hash?: string } = {}
      for (;;) {
        const verdict = dataOf(
          await supabase.schema('ai').rpc('verify_audit', { tenant_id: tenant.id, ...from }),
        ) as unknown as Verdict
        checked += verdict.checked
        if (!verdict.ok || verdict.is_complete) return { ...verdict, checked }
        from = { after_seq: verdict.last_seq, after_hash: verdict.head_hash }
      }
    },
  })
  const verdict = check.data
  return (
    <Card
      title="The chain"
      actions={
        <Button small busy={check.isPending && 'Computing the chain…'} onClick={() => check.mutate()}>
          Verify
        </Button>
      }
    >
      {check.error && <ErrorNotice error={check.error} />}
      <div aria-live="polite">
        {!verdict && <p>Each row holds the hash of the one before. Verifying computes all of them anew.</p>}
        {verdict?.ok && (
          <Row>
            <Badge tone="good">whole</Badge>
            <span>
              {verdict.checked} rows. Note the head somewhere else, and a later log can be checked against it: row{' '}
              {verdict.last_seq}, <Copyable value={verdict.head_hash} shown={`${verdict.head_hash.slice(0, 16)}…`} />
            </span>
          </Row>
        )}
        {verdict && !verdict.ok && (
          <Row>
            <Badge tone="bad">broken</Badge>
            <span>
              At row {verdict.first_bad_seq ?? '?'}: {WORDS[verdict.reason ?? ''] ?? verdict.reason}. Keep a copy of the
              database before anything else is done.
            </span>
          </Row>
        )}
      </div>
    </Card>
  )
}
