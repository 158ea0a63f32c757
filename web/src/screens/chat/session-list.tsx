import { useQueryClient } from '@tanstack/react-query'
import { Ellipsis, Pencil, Trash2 } from 'lucide-react'
import { useState, type FormEvent } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import {
  Button,
  ConfirmDialog,
  Dialog,
  ErrorNotice,
  IconButton,
  Menu,
  Stack,
  TextField,
  Time,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import styles from './chat.module.css'
import { useSessions, type Session } from './data.ts'

export const titleOf = (session: Pick<Session, 'title'> | null | undefined): string =>
  session?.title?.trim() || 'Untitled conversation'

/** The conversations, the latest first. */
export function SessionList({ openId, onGone }: { openId: string | null; onGone: (id: string) => void }) {
  const sessions = useSessions()
  const all = sessions.data?.pages.flat() ?? []
  if (sessions.error && all.length === 0) {
    return <ErrorNotice error={sessions.error} onRetry={() => void sessions.refetch()} />
  }
  if (!sessions.data) return <Waiting what="Reading your conversations" small />
  if (all.length === 0) {
    return <p className={styles['hint']}>Your conversations will stand here. Nobody else sees them, admins neither.</p>
  }
  return (
    <>
      <ul className={styles['sessions']}>
        {all.map((session) => (
          <li key={session.id} className={styles['session']} data-open={session.id === openId || undefined}>
            <Link href={`/${session.id}`} aria-current={session.id === openId ? 'page' : undefined}>
              <span className={styles['session-title']}>{titleOf(session)}</span>
              <small>
                <Time at={session.updated_at} />
              </small>
            </Link>
            <SessionMenu session={session} onGone={onGone} />
          </li>
        ))}
      </ul>
      {sessions.hasNextPage && (
        <Button
          small
          kind="quiet"
          busy={sessions.isFetchingNextPage && 'Reading…'}
          onClick={() => void sessions.fetchNextPage()}
        >
          Earlier ones
        </Button>
      )}
    </>
  )
}

/** Renames and deletes a conversation. */
export function SessionMenu({ session, onGone }: { session: Session; onGone: (id: string) => void }) {
  const { supabase } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const [open, setOpen] = useState<'rename' | 'delete' | null>(null)
  const close = () => setOpen(null)
  const refresh = () => queryClient.invalidateQueries({ queryKey: ['chat'] })
  return (
    <>
      <Menu
        trigger={<IconButton label={`More about “${titleOf(session)}”`} icon={<Ellipsis size={16} />} />}
        items={[
          { label: 'Rename', icon: <Pencil size={15} />, onSelect: () => setOpen('rename') },
          { label: 'Delete', icon: <Trash2 size={15} />, onSelect: () => setOpen('delete'), danger: true },
        ]}
      />
      {open === 'rename' && (
        <Rename
          session={session}
          onClose={close}
          onRename={async (title) => {
            dataOf(await supabase.from('chat_sessions').update({ title }).eq('id', session.id).select('id'))
            await refresh()
          }}
        />
      )}
      <ConfirmDialog
        title="Delete the conversation?"
        action="Delete"
        busyLabel="Deleting…"
        danger
        open={open === 'delete'}
        onClose={close}
        onConfirm={async () => {
          dataOf(await supabase.from('chat_sessions').delete().eq('id', session.id).select('id'))
          onGone(session.id)
          toast.done('The conversation is deleted')
          await refresh()
        }}
      >
        <p>
          “{titleOf(session)}” and all of its messages go, on every device. This cannot be undone. Its runs stay under
          Runs.
        </p>
      </ConfirmDialog>
    </>
  )
}

function Rename(props: { session: Session; onClose: () => void; onRename: (title: string) => Promise<void> }) {
  const { session, onClose, onRename } = props
  const [title, setTitle] = useState(session.title ?? '')
  const [isBusy, setIsBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const submit = async (event: FormEvent) => {
    event.preventDefault()
    setIsBusy(true)
    setError(null)
    try {
      await onRename(title.trim())
      onClose()
    } catch (reason) {
      setError(reason)
    } finally {
      setIsBusy(false)
    }
  }
  return (
    <Dialog
      title="Rename the conversation"
      open
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            kind="primary"
            type="submit"
            form="rename-conversation"
            busy={isBusy && 'Renaming…'}
            disabled={title.trim() === ''}
          >
            Rename
          </Button>
        </>
      }
    >
      <form id="rename-conversation" onSubmit={(event) => void submit(event)}>
        <Stack gap={3}>
          <TextField
            label="Title"
            value={title}
            maxLength={200}
            required
            autoFocus
            onChange={(event) => setTitle(event.currentTarget.value)}
          />
          {error !== null && <ErrorNotice error={error} />}
        </Stack>
      </form>
    </Dialog>
  )
}
