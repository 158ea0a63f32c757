import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { ConfirmDialog, ErrorNotice, useToast, Waiting } from '../../ui/index.ts'
import { bytesText } from './files.ts'
import styles from './documents.module.css'

const counted = (count: number, one: string, many = `${one}s`) => `${count} ${count === 1 ? one : many}`

/** Deletes a document, after saying what goes with it. */
export function DeleteDialog(props: {
  document: { id: string; name: string }
  open: boolean
  onClose: () => void
  onDeleted?: () => void
}) {
  const { document, open, onClose, onDeleted } = props
  const { bulkhead } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  return (
    <ConfirmDialog
      title="Delete this document?"
      action="Delete for good"
      busyLabel="Deleting…"
      danger
      open={open}
      onClose={onClose}
      onConfirm={async () => {
        await bulkhead.deleteSource(document.id)
        toast.done('Deleted', document.name)
        onDeleted?.()
        await queryClient.invalidateQueries({ queryKey: ['documents', 'list'] })
      }}
    >
      {open && <WhatGoes document={document} />}
    </ConfirmDialog>
  )
}

function WhatGoes({ document }: { document: { id: string; name: string } }) {
  const { supabase } = useBackend()
  const preview = useQuery({
    queryKey: ['documents', 'deletion', document.id],
    queryFn: async ({ signal }) =>
      dataOf(await supabase.schema('ai').rpc('source_deletion', { source_id: document.id }).abortSignal(signal))[0],
    gcTime: 0,
    staleTime: 0,
  })
  if (preview.error) return <ErrorNotice error={preview.error} onRetry={() => void preview.refetch()} />
  if (!preview.data) return <Waiting small what="Counting what will go" />
  const { size_bytes, pages, chunks, grants, citations, knowledge_bases } = preview.data
  const bases = (Array.isArray(knowledge_bases) ? knowledge_bases : []) as { id: string; name: string }[]
  return (
    <>
      <p>
        <strong className={styles['name']}>{document.name}</strong> will be gone for everybody, and cannot be brought
        back:
      </p>
      <ul className={styles['goes']}>
        <li>the file of {bytesText(size_bytes)}</li>
        {pages > 0 && <li>{counted(pages, 'page')} of text</li>}
        {chunks > 0 && (
          <li>
            {counted(chunks, 'passage')} in the search index ({bases.map((base) => base.name).join(', ')})
          </li>
        )}
        {grants > 0 && <li>{counted(grants, 'grant')} to people and groups</li>}
      </ul>
      {citations > 0 && (
        <p>
          {counted(citations, 'citation')} in answers you got {citations === 1 ? 'keeps its' : 'keep their'} excerpt and{' '}
          {citations === 1 ? 'loses its' : 'lose their'} link.
        </p>
      )}
    </>
  )
}
