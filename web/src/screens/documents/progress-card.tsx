import { RotateCcw, Upload } from 'lucide-react'
import { useRef } from 'react'
import { useLocation } from 'wouter'
import { Button, Card } from '../../ui/index.ts'
import { useDocumentActions } from './actions.ts'
import type { Document } from './data.ts'
import { FILE_TYPES } from './files.ts'
import { FailureNotice, Steps } from './parts.tsx'
import type { State } from './state.ts'
import { useUploads } from './uploads.ts'
import styles from './documents.module.css'

/** How far a document is that cannot be searched everywhere yet, and what helps it on. */
export function ProgressCard({ document, isMine }: { document: Document; isMine: boolean }) {
  const { retry, reextract, cancelExtraction } = useDocumentActions()
  const { state, extraction_status: status } = document
  const isWaiting = document.uploaded_at !== null && ['pending', 'extracting'].includes(status)
  return (
    <Card
      title={titleOf(state)}
      actions={
        isMine && (
          <>
            {isWaiting && (
              <Button
                small
                busy={cancelExtraction.isPending && 'Cancelling…'}
                onClick={() => cancelExtraction.mutate(document)}
              >
                Cancel
              </Button>
            )}
            {status === 'cancelled' && (
              <Button small busy={reextract.isPending && 'Beginning…'} onClick={() => reextract.mutate(document)}>
                Extract the text
              </Button>
            )}
          </>
        )
      }
    >
      <Steps state={state} />
      {state.detail && <p className={styles['soft']}>{state.detail}</p>}
      <FailureNotice
        document={document}
        actions={
          isMine &&
          (state.failure?.remedy === 'upload' ? (
            <UploadAgain document={document} />
          ) : (
            <Button
              small
              icon={<RotateCcw size={15} aria-hidden />}
              busy={retry.isPending && 'Beginning again…'}
              onClick={() => retry.mutate(document)}
            >
              Try again
            </Button>
          ))
        }
      />
    </Card>
  )
}

const titleOf = ({ failure, done, isSettled }: State): string => {
  if (failure) return ['It was not uploaded whole', 'Its text could not be read', 'It could not be indexed'][done] ?? ''
  return isSettled ? 'Search does not find it' : 'On its way into search'
}

/** The bytes are missing or wrong: only the file itself helps, and takes the place of this document. */
function UploadAgain({ document }: { document: Document }) {
  const { replace } = useUploads()
  const [, navigate] = useLocation()
  const chooser = useRef<HTMLInputElement>(null)
  return (
    <>
      <input
        ref={chooser}
        className="visually-hidden"
        type="file"
        tabIndex={-1}
        aria-label="File to upload again"
        accept={Object.keys(FILE_TYPES).join(',')}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0]
          if (!file) return
          const knowledgeBaseIds = document.places.map((place) => place.knowledge_base_id)
          replace(file, { visibility: document.visibility, knowledgeBaseIds }, document.id)
          navigate('/')
        }}
      />
      <Button small icon={<Upload size={15} aria-hidden />} onClick={() => chooser.current?.click()}>
        Upload the file again
      </Button>
    </>
  )
}
