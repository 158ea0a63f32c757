import { Download, Eye, FileX, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { links } from '../../lib/links.ts'
import type { Span } from '../../lib/page-text.ts'
import { PageTextView } from '../../lib/page-text-view.tsx'
import {
  Button,
  Card,
  ShortId,
  EmptyState,
  ErrorNotice,
  Facts,
  PageHeader,
  Stack,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { useDocumentActions } from './actions.ts'
import { AudienceCard } from './audience-card.tsx'
import { type Document, mayChange, ownerText, useDocument } from './data.ts'
import { usePeople } from '../../app/people.tsx'
import { DeleteDialog } from './delete-dialog.tsx'
import { bytesText, typeName } from './files.ts'
import { IndexingCard } from './indexing-card.tsx'
import { ProgressCard } from './progress-card.tsx'
import styles from './documents.module.css'

/** One document: its text, how far it is, who may see it. With a span, that is marked in the text. */
export function DocumentPage({ id, span }: { id: string; span?: Span }) {
  const document = useDocument(id)
  if (document.data) return <Loaded document={document.data} span={isSpan(span) ? span : undefined} />
  if (document.error || document.data === null) {
    return (
      <EmptyState
        icon={<FileX size={40} aria-hidden />}
        title="This document is not here"
        actions={<Link href="/">All documents</Link>}
      >
        It was deleted, or it is not yours to see.
        {document.error && <ErrorNotice error={document.error} onRetry={() => void document.refetch()} />}
      </EmptyState>
    )
  }
  return <Waiting what="Reading the document" />
}

const isSpan = (span: Span | undefined): span is Span =>
  span !== undefined &&
  Number.isInteger(span.from) &&
  Number.isInteger(span.to) &&
  span.from >= 0 &&
  span.to > span.from

function Loaded({ document, span }: { document: Document; span: Span | undefined }) {
  const backend = useBackend()
  const [, navigate] = useLocation()
  const { openOriginal } = useDocumentActions()
  const people = usePeople()
  const [isDeleting, setIsDeleting] = useState(false)
  const { id, page_count: pages } = document
  const isMine = mayChange(backend, document.owner_id)
  return (
    <>
      <p className={styles['back']}>
        <Link href="/">Documents</Link>
      </p>
      <PageHeader
        title={document.name}
        actions={
          <>
            <Button
              icon={<Download size={16} aria-hidden />}
              disabled={document.uploaded_at === null}
              busy={openOriginal.isPending && 'Opening…'}
              onClick={() => openOriginal.mutate(document)}
            >
              Original file
            </Button>
            {isMine && (
              <Button kind="danger" icon={<Trash2 size={16} aria-hidden />} onClick={() => setIsDeleting(true)}>
                Delete
              </Button>
            )}
          </>
        }
      />
      <DeleteDialog
        document={document}
        open={isDeleting}
        onClose={() => setIsDeleting(false)}
        onDeleted={() => navigate('/', { replace: true })}
      />
      <div className={styles['columns']}>
        <div className={styles['column-text']}>
          <Stack>
            {document.state.done < 3 && <ProgressCard document={document} isMine={isMine} />}
            {document.extracted_at !== null && (
              <Card
                title={span ? 'Text, with the cited passage' : 'Text'}
                actions={span && <Link href={`/${id}`}>Without the passage</Link>}
              >
                <PageTextView
                  key={document.extracted_at}
                  sourceId={id}
                  pageCount={pages ?? 1}
                  span={span}
                  focusSpan={span !== undefined}
                />
              </Card>
            )}
          </Stack>
        </div>
        <Stack>
          <Card title="About">
            <Facts
              facts={[
                ['Type', typeName(document.file_type)],
                ['Size', bytesText(document.size_bytes)],
                ['Pages of text', pages ?? 'not known yet'],
                ['Owner', ownerText(document.owner_id, people.data, backend.user.id)],
                ['Uploaded', <Time key="at" at={document.created_at} exact />],
                ['Id', <ShortId key="id" id={id} />],
              ]}
            />
          </Card>
          <AudienceCard document={document} isMine={isMine} />
          <Link href={links.documentAccess(id)} className={styles['with-icon']}>
            <Eye size={16} aria-hidden /> Who can see this, and why
          </Link>
          <IndexingCard document={document} isMine={isMine} />
        </Stack>
      </div>
    </>
  )
}
