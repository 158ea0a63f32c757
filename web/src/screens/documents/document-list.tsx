import { FileUp, FileText } from 'lucide-react'
import { useDeferredValue, useRef, useState } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import {
  Button,
  DataTable,
  EmptyState,
  ErrorNotice,
  PageHeader,
  Pager,
  SelectField,
  Stack,
  TextField,
  Time,
  Waiting,
} from '../../ui/index.ts'
import { type Document, ownerText, PAGE_SIZE, STATE_FILTERS, useDocuments } from './data.ts'
import { usePeople } from '../../app/people.tsx'
import { DocumentMenu } from './document-menu.tsx'
import { DropArea } from './drop-area.tsx'
import { bytesText, FILE_TYPES, LIMITS_TOLD, typeName } from './files.ts'
import { StateBadge, VisibilityText } from './parts.tsx'
import { audiencesIn, UploadOptions } from './upload-options.tsx'
import { UploadList } from './upload-list.tsx'
import { useUploads, useUploadSettings } from './uploads.ts'
import styles from './documents.module.css'

/** All documents the person may see, and the way to more. */
export function DocumentList() {
  const { can, tenant } = useBackend()
  const [settings, setSettings] = useUploadSettings()
  const { uploads, ...actions } = useUploads()
  const chooser = useRef<HTMLInputElement>(null)
  const mayUpload = can('member')
  const audience = audiencesIn(tenant.name).find((each) => each.value === settings.visibility)?.label
  const take = (files: Iterable<File>) => actions.add(files, settings)
  const choose = () => chooser.current?.click()

  return (
    <>
      <PageHeader
        title="Documents"
        description="Files whose text can be searched and cited, by exactly those who may see the document."
        actions={
          mayUpload && (
            <Button kind="primary" icon={<FileUp size={18} aria-hidden />} onClick={choose}>
              Upload files
            </Button>
          )
        }
      />
      <Stack>
        {mayUpload && (
          <>
            <input
              ref={chooser}
              className="visually-hidden"
              type="file"
              multiple
              tabIndex={-1}
              aria-label="Files to upload"
              accept={Object.keys(FILE_TYPES).join(',')}
              onChange={(event) => {
                take([...(event.currentTarget.files ?? [])])
                // So that the same file can be chosen again.
                event.currentTarget.value = ''
              }}
            />
            <DropArea onFiles={take} told={`Seen by: ${audience}. ${LIMITS_TOLD}`} />
            <UploadOptions settings={settings} onChange={setSettings} onChoose={choose} />
            <UploadList uploads={uploads} actions={actions} />
          </>
        )}
        <List mayUpload={mayUpload} onChoose={choose} isUploading={uploads.length > 0} />
      </Stack>
    </>
  )
}

function List({
  mayUpload,
  onChoose,
  isUploading,
}: {
  mayUpload: boolean
  onChoose: () => void
  isUploading: boolean
}) {
  const [typed, setTyped] = useState('')
  const name = useDeferredValue(typed.trim())
  const [state, setState] = useState<string>('any')
  const [offset, setOffset] = useState(0)
  const documents = useDocuments({ name, state, offset })
  const isFiltered = name !== '' || state !== 'any'

  if (!documents.data) {
    if (documents.error) return <ErrorNotice error={documents.error} onRetry={() => void documents.refetch()} />
    return <Waiting what="Listing the documents" />
  }
  const { documents: rows, total } = documents.data
  if (total === 0 && !isFiltered) {
    return isUploading ? null : <NoDocuments mayUpload={mayUpload} onChoose={onChoose} />
  }
  return (
    <>
      <div className={styles['filters']}>
        <TextField
          label="Name contains"
          type="search"
          value={typed}
          onChange={(event) => {
            setTyped(event.currentTarget.value)
            setOffset(0)
          }}
        />
        <SelectField
          label="State"
          options={STATE_FILTERS}
          value={state}
          onChange={(event) => {
            setState(event.currentTarget.value)
            setOffset(0)
          }}
        />
        <p className={styles['count']} role="status">
          {total === 1 ? '1 document' : `${total} documents`}
        </p>
      </div>
      {documents.error && <ErrorNotice error={documents.error} onRetry={() => void documents.refetch()} />}
      {rows.length > 0 ? (
        <Table rows={rows} />
      ) : (
        <EmptyState title="No document is like that">
          Take another name or state.{' '}
          <Button
            kind="quiet"
            small
            onClick={() => {
              setTyped('')
              setState('any')
              setOffset(0)
            }}
          >
            Show all
          </Button>
        </EmptyState>
      )}
      <Pager offset={offset} pageSize={PAGE_SIZE} shown={rows.length} total={total} onOffset={setOffset} />
    </>
  )
}

function Table({ rows }: { rows: Document[] }) {
  const { user } = useBackend()
  const people = usePeople()
  return (
    <div className={styles['list']}>
      <DataTable
        caption="Documents"
        rows={rows}
        keyOf={(row) => row.id}
        columns={[
          {
            title: 'Name',
            isHead: true,
            cell: (row) => (
              <span className={styles['name']}>
                <Link href={`/${row.id}`}>{row.name}</Link>
              </span>
            ),
          },
          { title: 'Type', cell: (row) => typeName(row.file_type) },
          {
            title: 'Size',
            align: 'end',
            cell: (row) => <span className={styles['nowrap']}>{bytesText(row.size_bytes)}</span>,
          },
          { title: 'Seen by', cell: (row) => <VisibilityText visibility={row.visibility} /> },
          {
            title: 'Owner',
            cell: (row) => <span className={styles['owner']}>{ownerText(row.owner_id, people.data, user.id)}</span>,
          },
          { title: 'State', cell: (row) => <StateBadge document={row} /> },
          {
            title: 'Uploaded',
            cell: (row) => (
              <span className={styles['nowrap']}>
                <Time at={row.created_at} />
              </span>
            ),
          },
          {
            title: 'Actions',
            hideTitle: true,
            align: 'end',
            cell: (row) => (
              <span className={styles['menu']}>
                <DocumentMenu document={row} />
              </span>
            ),
          },
        ]}
      />
    </div>
  )
}

function NoDocuments({ mayUpload, onChoose }: { mayUpload: boolean; onChoose: () => void }) {
  return (
    <EmptyState
      title="No documents yet"
      icon={<FileText size={40} aria-hidden />}
      actions={
        mayUpload && (
          <Button icon={<FileUp size={18} aria-hidden />} onClick={onChoose}>
            Choose the first file
          </Button>
        )
      }
    >
      {mayUpload ? (
        <>
          A document is a file whose text is extracted, cut into passages and indexed. Search finds the passages, and
          answers cite them. Drop files anywhere on this page to begin. {LIMITS_TOLD}
        </>
      ) : (
        <>
          A document is a file whose text can be searched and cited. There is none that you may see. As a viewer you
          cannot upload files; a member of the tenant can.
        </>
      )}
    </EmptyState>
  )
}
