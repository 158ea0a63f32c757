import { RotateCcw, Upload as UploadIcon, X } from 'lucide-react'
import { useEffect } from 'react'
import { Link } from 'wouter'
import { BulkheadError } from '../../../../client/errors.ts'
import { Bar, Button, Card, ErrorNotice, IconButton, Waiting } from '../../ui/index.ts'
import { useDocumentActions } from './actions.ts'
import { type Document, useDocumentStates } from './data.ts'
import { bytesText } from './files.ts'
import { FailureNotice, Steps } from './parts.tsx'
import { canBeCancelled, type Upload, type UploadActions } from './uploads.ts'
import styles from './documents.module.css'

/** The files of this visit, each from its first byte until it can be searched. */
export function UploadList({ uploads, actions }: { uploads: Upload[]; actions: UploadActions }) {
  const ids = uploads.flatMap((upload) => upload.sourceId ?? [])
  const { data: documents, isPlaceholderData, error, refetch } = useDocumentStates(ids)
  const isSending = uploads.some((upload) => ['queued', 'sending'].includes(upload.phase))

  useEffect(() => {
    if (!isSending) return
    // What is still on its way would be lost with the page.
    const ask = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', ask)
    return () => removeEventListener('beforeunload', ask)
  }, [isSending])

  if (uploads.length === 0) return null
  const documentOf = ({ sourceId }: Upload) => (sourceId ? documents?.[sourceId] : undefined)
  const isGone = (upload: Upload) =>
    upload.phase === 'stored' && documents !== undefined && !isPlaceholderData && !documentOf(upload)
  const isOver = (upload: Upload) =>
    ['refused', 'failed'].includes(upload.phase) || documentOf(upload)?.state.isSettled === true || isGone(upload)
  const indexed = uploads.filter((upload) => documentOf(upload)?.state.done === 3).length
  const over = uploads.filter(isOver)
  return (
    <Card
      title={uploads.length === 1 ? 'Upload' : `Uploads, ${indexed} of ${uploads.length} indexed`}
      actions={
        over.length > 0 && (
          <Button small onClick={() => actions.dismissSettled(over.map((upload) => upload.key))}>
            Clear finished
          </Button>
        )
      }
    >
      <p className="visually-hidden" role="status">
        {indexed} of {uploads.length} files indexed, {over.length - indexed} ended otherwise.
      </p>
      {error && <ErrorNotice error={error} onRetry={() => void refetch()} />}
      <ul className={styles['uploads']}>
        {uploads.map((upload) => (
          <li key={upload.key}>
            <UploadRow upload={upload} document={documentOf(upload)} isGone={isGone(upload)} actions={actions} />
          </li>
        ))}
      </ul>
    </Card>
  )
}

function UploadRow(props: {
  upload: Upload
  document: Document | undefined
  /** It was stored, and is there no more. */
  isGone: boolean
  actions: UploadActions
}) {
  const { upload, document, actions } = props
  const { file, phase, sourceId } = upload
  const isUnderWay = canBeCancelled(upload)
  return (
    <>
      <div className={styles['upload-head']}>
        <span className={styles['upload-name']}>
          {sourceId && !props.isGone ? <Link href={`/${sourceId}`}>{file.name}</Link> : file.name}{' '}
          <span className={styles['soft']}>{bytesText(file.size)}</span>
        </span>
        <IconButton
          label={isUnderWay ? `Cancel the upload of ${file.name}` : `Take ${file.name} off this list`}
          icon={<X size={16} />}
          onClick={() => actions.dismiss(upload.key)}
        />
      </div>
      <UploadState {...props} />
      {document && <StoredState upload={upload} document={document} actions={actions} />}
    </>
  )
}

function UploadState({ upload, document, isGone, actions }: Parameters<typeof UploadRow>[0]) {
  const { file, phase, sent, refusal, error } = upload
  switch (phase) {
    case 'refused':
      return <p className={styles['refusal']}>Not uploaded. {refusal}</p>
    case 'queued':
      return <p className={styles['soft']}>Waiting for the files before it.</p>
    case 'sending': {
      const percent = Math.floor((sent / file.size) * 100)
      return sent >= file.size ? (
        <Waiting small what="All bytes are sent; the server is storing them" />
      ) : (
        <Bar label={`Upload of ${file.name}`} value={sent} max={file.size} text={`Uploading, ${percent} %`} />
      )
    }
    case 'stored':
      if (document) return null
      return isGone ? (
        <p className={styles['soft']}>The document was deleted.</p>
      ) : (
        <Waiting small what="Stored; asking how far it is" />
      )
    case 'failed': {
      const duplicate = duplicateOf(error)
      if (duplicate) {
        return (
          <p className={styles['refusal']}>
            The same bytes were uploaded before, as <Link href={`/${duplicate.id}`}>{duplicate.name}</Link>.
          </p>
        )
      }
      return <ErrorNotice error={error} title="It could not be uploaded" onRetry={() => actions.sendAgain(upload)} />
    }
  }
}

function StoredState(props: { upload: Upload; document: Document; actions: UploadActions }) {
  const { upload, document, actions } = props
  const { retry, cancelExtraction } = useDocumentActions()
  const { state } = document
  const canCancel = ['pending', 'extracting'].includes(document.extraction_status) && document.uploaded_at !== null
  return (
    <>
      <div className={styles['stored']}>
        <Steps state={state} />
        {canCancel && (
          <Button small kind="quiet" onClick={() => cancelExtraction.mutate(document)}>
            Cancel
          </Button>
        )}
      </div>
      {state.detail && <p className={styles['soft']}>{state.detail}</p>}
      <FailureNotice
        document={document}
        actions={
          state.failure?.remedy === 'upload' ? (
            <Button small icon={<UploadIcon size={15} aria-hidden />} onClick={() => actions.sendAgain(upload)}>
              Upload again
            </Button>
          ) : (
            <Button
              small
              icon={<RotateCcw size={15} aria-hidden />}
              busy={retry.isPending && 'Beginning again…'}
              onClick={() => retry.mutate(document)}
            >
              Try again
            </Button>
          )
        }
      />
    </>
  )
}

/** The first upload of the same bytes, where that is what the server says. */
function duplicateOf(error: unknown): { id: string; name: string } | null {
  if (!(error instanceof BulkheadError) || error.code !== 'duplicate_source') return null
  const { id, name } = (error.details['duplicate'] ?? {}) as { id?: unknown; name?: unknown }
  return typeof id === 'string' && typeof name === 'string' ? { id, name } : null
}
