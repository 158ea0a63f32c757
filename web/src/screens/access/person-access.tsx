import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { Person, usePeople } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  Badge,
  Button,
  DataTable,
  EmptyState,
  ErrorNotice,
  Row,
  SelectField,
  Stack,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { Reasons } from './reasons.tsx'

const PAGE = 50

/** What a person can see of what the reader can see, the newest first, and why. */
export function PersonAccess({ id, onChoose }: { id: string; onChoose: (id: string) => void }) {
  const { supabase, tenant } = useBackend()
  const people = usePeople()
  const pages = useInfiniteQuery({
    queryKey: ['access', 'person', id],
    initialPageParam: null as { created_at: string; source_id: string } | null,
    queryFn: async ({ pageParam, signal }) =>
      dataOf(
        await supabase
          .schema('ai')
          .rpc('person_access', {
            tenant_id: tenant.id,
            user_id: id,
            max_rows: PAGE,
            ...(pageParam ? { before_created_at: pageParam.created_at, before_source_id: pageParam.source_id } : {}),
          })
          .abortSignal(signal),
      ),
    getNextPageParam: (page) => (page.length === PAGE ? (page.at(-1) ?? null) : null),
  })
  const rows = pages.data?.pages.flat()
  return (
    <Stack>
      <SelectField
        label="Person"
        value={id}
        onChange={(event) => onChoose(event.currentTarget.value)}
        options={(people.data ?? []).map((person) => ({
          value: person.user_id,
          label: `${person.email} (${person.role})`,
        }))}
      />
      {people.error && <ErrorNotice error={people.error} onRetry={() => void people.refetch()} />}
      {pages.error && <ErrorNotice error={pages.error} onRetry={() => void pages.refetch()} />}
      {pages.isPending && <Waiting what="Asking the database what they can see" />}
      {rows?.length === 0 && (
        <EmptyState title="Nothing that you can see">
          There may be documents that only they can see: this list never tells of them.
        </EmptyState>
      )}
      {rows && rows.length > 0 && (
        <DataTable
          caption="What this person can see"
          rows={rows}
          keyOf={(row) => row.source_id}
          columns={[
            {
              title: 'Document',
              isHead: true,
              cell: (row) => <Link href={links.document(row.source_id)}>{row.name}</Link>,
            },
            { title: 'Visibility', cell: (row) => <Badge>{row.visibility}</Badge> },
            { title: 'Of', cell: (row) => <Person id={row.owner_id} /> },
            { title: 'Because', cell: (row) => <Reasons reasons={row.reasons} /> },
            { title: 'Since', cell: (row) => <Time at={row.created_at} /> },
          ]}
        />
      )}
      {pages.hasNextPage && (
        <Row>
          <Button busy={pages.isFetchingNextPage && 'Reading…'} onClick={() => void pages.fetchNextPage()}>
            Show more
          </Button>
        </Row>
      )}
    </Stack>
  )
}
