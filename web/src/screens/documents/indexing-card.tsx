import { Link } from 'wouter'
import { Button, Card, ErrorNotice, Row, SelectField, Stack, StatusBadge, Time } from '../../ui/index.ts'
import { useState } from 'react'
import { useBackend } from '../../app/backend.ts'
import { useDocumentActions } from './actions.ts'
import { useKnowledgeBases } from '../../app/knowledge-bases.ts'
import { type Document } from './data.ts'
import type { Place } from './state.ts'
import styles from './documents.module.css'

/** The knowledge bases a document is in, and how far its indexing is in each. */
export function IndexingCard({ document, isMine }: { document: Document; isMine: boolean }) {
  const { can } = useBackend()
  const bases = useKnowledgeBases()
  const nameOf = (id: string) => bases.data?.find((base) => base.id === id)?.name ?? '…'
  const others =
    bases.data?.filter((base) => !document.places.some((place) => place.knowledge_base_id === base.id)) ?? []
  const isReady = document.extraction_status === 'extracted'
  return (
    <Card title="Knowledge bases">
      <Stack gap={3}>
        {bases.error && <ErrorNotice error={bases.error} onRetry={() => void bases.refetch()} />}
        {document.places.length === 0 && (
          <p className={styles['soft']}>
            It is in none. Search and agents find documents through the knowledge bases they are in.
          </p>
        )}
        <ul className={styles['places']}>
          {document.places.map((place) => (
            <li key={place.id}>
              <PlaceRow
                sourceId={document.id}
                place={place}
                name={nameOf(place.knowledge_base_id)}
                mayCancel={isMine}
                isReady={isReady}
                mayIndex={can('member')}
              />
            </li>
          ))}
        </ul>
        {can('member') && isReady && others.length > 0 && <AddTo sourceId={document.id} bases={others} />}
        {document.state.done === 3 && (
          <p className={styles['soft']}>
            <Link href="~/search">Search</Link> finds it.
          </p>
        )}
      </Stack>
    </Card>
  )
}

function PlaceRow(props: {
  sourceId: string
  place: Place
  name: string
  mayCancel: boolean
  mayIndex: boolean
  isReady: boolean
}) {
  const { sourceId, place, name, mayCancel, mayIndex, isReady } = props
  const { index, cancelIndexing } = useDocumentActions()
  const isBusy = ['pending', 'indexing'].includes(place.index_status)
  const again = place.index_status === 'indexed' ? 'Index again' : 'Try again'
  return (
    <>
      <Row>
        <strong className={styles['name']}>{name}</strong>{' '}
        {isReady || place.index_status === 'indexed' ? (
          <StatusBadge status={place.index_status} />
        ) : (
          <span className={styles['soft']}>waits for the text</span>
        )}
      </Row>
      {place.error_message && (
        <p className={styles['refusal']}>
          {place.error_message} {place.reason_code && <code>{place.reason_code}</code>}
        </p>
      )}
      <Row>
        {place.indexed_at && (
          <span className={styles['soft']}>
            searchable as of <Time at={place.indexed_at} />
          </span>
        )}
        {isBusy && isReady && mayCancel && (
          <Button
            small
            busy={cancelIndexing.isPending && 'Cancelling…'}
            onClick={() => cancelIndexing.mutate(place)}
            aria-label={`Cancel the indexing in ${name}`}
          >
            Cancel
          </Button>
        )}
        {!isBusy && isReady && mayIndex && (
          <Button
            small
            kind="quiet"
            busy={index.isPending && 'Queueing…'}
            onClick={() => index.mutate({ sourceId, knowledgeBaseId: place.knowledge_base_id })}
            aria-label={`${again} in ${name}`}
          >
            {again}
          </Button>
        )}
      </Row>
    </>
  )
}

function AddTo({ sourceId, bases }: { sourceId: string; bases: { id: string; name: string }[] }) {
  const { index } = useDocumentActions()
  const [chosen, setChosen] = useState('')
  const id = bases.some((base) => base.id === chosen) ? chosen : (bases[0]?.id ?? '')
  return (
    <form
      className={styles['add']}
      onSubmit={(event) => {
        event.preventDefault()
        index.mutate({ sourceId, knowledgeBaseId: id })
      }}
    >
      <SelectField
        label="Put it into another"
        options={bases.map((base) => ({ value: base.id, label: base.name }))}
        value={id}
        onChange={(event) => setChosen(event.currentTarget.value)}
      />
      <Button type="submit" busy={index.isPending && 'Adding…'}>
        Add
      </Button>
    </form>
  )
}
