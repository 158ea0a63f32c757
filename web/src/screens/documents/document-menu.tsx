import { Download, EllipsisVertical, Eye, FileText, RotateCcw, Trash2 } from 'lucide-react'
import { useState } from 'react'
import { useLocation } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { links } from '../../lib/links.ts'
import { IconButton, Menu, type MenuItem } from '../../ui/index.ts'
import { useDocumentActions } from './actions.ts'
import { type Document, mayChange } from './data.ts'
import { DeleteDialog } from './delete-dialog.tsx'

/** What can be done with a document of the list. */
export function DocumentMenu({ document }: { document: Document }) {
  const backend = useBackend()
  const [, navigate] = useLocation()
  const { retry, openOriginal } = useDocumentActions()
  const [isDeleting, setIsDeleting] = useState(false)
  const isMine = mayChange(backend, document.owner_id)
  const { failure } = document.state
  const items: MenuItem[] = [
    { label: 'Open', icon: <FileText size={16} />, onSelect: () => navigate(`/${document.id}`) },
    {
      label: 'Original file',
      icon: <Download size={16} />,
      onSelect: () => openOriginal.mutate(document),
      disabled: document.uploaded_at === null,
    },
    { label: 'Who can see it', icon: <Eye size={16} />, onSelect: () => navigate(links.documentAccess(document.id)) },
    ...(isMine && failure && failure.remedy !== 'upload'
      ? [{ label: 'Try again', icon: <RotateCcw size={16} />, onSelect: () => retry.mutate(document) }]
      : []),
    ...(isMine
      ? [{ label: 'Delete…', icon: <Trash2 size={16} />, danger: true, onSelect: () => setIsDeleting(true) }]
      : []),
  ]
  return (
    <>
      <Menu
        trigger={<IconButton label={`Actions for ${document.name}`} icon={<EllipsisVertical size={18} />} />}
        items={items}
      />
      <DeleteDialog document={document} open={isDeleting} onClose={() => setIsDeleting(false)} />
    </>
  )
}
