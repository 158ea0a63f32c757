import { useInfiniteQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { Person } from '../../app/people.tsx'
import { links } from '../../lib/links.ts'
import {
  Badge,
  Button,
  DataTable,
  Dialog,
  EmptyState,
  ErrorNotice,
  JsonView,
  Row,
  ShortId,
  Stack,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { type AuditEvent, readEvents, throughWhom } from './data.ts'
import type { Filter } from './filters.tsx'

const PAGE = 50

/** The log itself, the latest first. */
export function Events({ filter }: { filter: Filter }) {
  const { supabase, tenant } = useBackend()
  const pages = useInfiniteQuery({
    queryKey: ['audit', filter],
    initialPageParam: null as number | null,
    queryFn: ({ pageParam, signal }) =>
      readEvents(supabase, tenant.id, filter, { beforeSeq: pageParam, size: PAGE, signal }),
    getNextPageParam: (page) => (page.length === PAGE ? (page.at(-1)?.seq ?? null) : null),
  })
  const [open, setOpen] = useState<AuditEvent | null>(null)
  const rows = pages.data?.pages.flat()
  if (pages.error && !rows) return <ErrorNotice error={pages.error} onRetry={() => void pages.refetch()} />
  if (!rows) return <Waiting what="Reading the log" />
  if (rows.length === 0) {
    return (
      <EmptyState title="No row of the log is like that">
        Widen the time, or ask for everything and everybody.
      </EmptyState>
    )
  }
  return (
    <Stack>
      <DataTable<AuditEvent>
        caption="Audit log, the latest first"
        rows={rows}
        keyOf={(event) => String(event.seq)}
        columns={[
          { title: '#', align: 'end', cell: (event) => event.seq },
          { title: 'When', cell: (event) => <Time at={event.occurred_at} exact /> },
          { title: 'What', isHead: true, cell: (event) => <Badge>{event.action}</Badge> },
          {
            title: 'Who',
            cell: (event) => <Actor event={event} />,
          },
          { title: 'About', cell: (event) => <Subject event={event} /> },
          {
            title: 'Details',
            hideTitle: true,
            cell: (event) => (
              <Button small kind="quiet" aria-label={`Details of row ${event.seq}`} onClick={() => setOpen(event)}>
                Details
              </Button>
            ),
          },
        ]}
      />
      {pages.error && <ErrorNotice error={pages.error} onRetry={() => void pages.fetchNextPage()} />}
      {pages.hasNextPage && (
        <Row>
          <Button busy={pages.isFetchingNextPage && 'Reading…'} onClick={() => void pages.fetchNextPage()}>
            Show earlier rows
          </Button>
        </Row>
      )}
      {open && (
        <Dialog wide open title={`Row ${open.seq}: ${open.action}`} onClose={() => setOpen(null)}>
          <JsonView label={`Row ${open.seq}`} value={open} />
        </Dialog>
      )}
    </Stack>
  )
}

function Actor({ event }: { event: AuditEvent }) {
  const through = throughWhom(event.act)
  if (!event.actor_id) return <span>{through ?? 'nobody signed in'}</span>
  return (
    <span>
      <Person id={event.actor_id} />
      {through && <> through {through}</>}
    </span>
  )
}

function Subject({ event }: { event: AuditEvent }) {
  const { subject_type: type, subject_id: id } = event
  if (type === 'membership') return <Person id={id} />
  const href =
    type === 'source' ? links.document(id) : type === 'run' ? links.run(id) : type === 'agent' ? links.agent(id) : null
  return (
    <Row>
      {href ? <Link href={href}>{type.replaceAll('_', ' ')}</Link> : <span>{type.replaceAll('_', ' ')}</span>}
      <ShortId id={id} />
    </Row>
  )
}
