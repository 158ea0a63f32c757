import { type QueryClient, useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo } from 'react'
import { type Backend, useBackend } from '../../app/backend.ts'
import { refusalOf } from './files.ts'
import { sendFile, type UploadSettings } from './send-file.ts'

/** A file on its way, up to where its bytes are stored; from there on its document tells how far it is. */
export type Upload = {
  key: string
  file: File
  settings: UploadSettings
  phase: 'refused' | 'queued' | 'sending' | 'stored' | 'failed'
  /** Bytes that are on their way. */
  sent: number
  sourceId: string | null
  /** Why it was not sent, in a sentence. */
  refusal: string | null
  /** What the server answered. */
  error: unknown
  /** A document without usable bytes that stands in the way of this upload and goes first. */
  replaces: string | null
  aborter: AbortController
}

const KEY = ['documents', 'uploads']
const SETTINGS = ['documents', 'uploads', 'settings']
const USUAL: UploadSettings = { visibility: 'tenant', knowledgeBaseIds: [] }
const NONE: Upload[] = []
/** Files that are sent at once: enough to fill a line, few enough to see each move. */
const AT_ONCE = 3

/**
 * The uploads of this tab in this tenant. They are kept in the tenant's query cache, so that they go on while the person
 * looks at another screen, and are gone with everything else of the tenant when the person leaves it.
 */
export function useUploads() {
  const queryClient = useQueryClient()
  const backend = useBackend()
  const { data = NONE } = useQuery({
    queryKey: KEY,
    queryFn: () => queryClient.getQueryData<Upload[]>(KEY) ?? NONE,
    enabled: false,
    gcTime: Infinity,
    structuralSharing: false,
  })
  const actions = useMemo(() => createActions(queryClient, backend), [queryClient, backend])
  return { uploads: data, ...actions }
}

/** Not any more once all bytes are sent: to hang up then would leave open whether the server has stored them. */
export const canBeCancelled = ({ phase, sent, file }: Upload): boolean =>
  phase === 'queued' || (phase === 'sending' && sent < file.size)

/** What the next uploads are given. Kept beside them: who has chosen `only me` must not find it forgotten after a look elsewhere. */
export function useUploadSettings(): [UploadSettings, (settings: UploadSettings) => void] {
  const queryClient = useQueryClient()
  const { data = USUAL } = useQuery({
    queryKey: SETTINGS,
    queryFn: () => queryClient.getQueryData<UploadSettings>(SETTINGS) ?? USUAL,
    enabled: false,
    gcTime: Infinity,
  })
  return [data, (settings) => void queryClient.setQueryData<UploadSettings>(SETTINGS, settings)]
}

export type UploadActions = ReturnType<typeof createActions>

function createActions(queryClient: QueryClient, { supabase, bulkhead, tenant }: Backend) {
  const read = () => queryClient.getQueryData<Upload[]>(KEY) ?? NONE
  const write = (uploads: Upload[]) => queryClient.setQueryData<Upload[]>(KEY, uploads)
  const change = (key: string, values: Partial<Upload>) =>
    write(read().map((each) => (each.key === key ? { ...each, ...values } : each)))
  queryClient.setQueryDefaults(KEY, { gcTime: Infinity, structuralSharing: false })

  const begin = () => {
    const waiting = read().filter((each) => each.phase === 'queued')
    const room = AT_ONCE - read().filter((each) => each.phase === 'sending').length
    for (const upload of waiting.slice(0, Math.max(0, room))) void send(upload)
  }

  const send = async ({ key, file, settings, replaces, aborter }: Upload) => {
    change(key, { phase: 'sending', sent: 0 })
    try {
      if (replaces) await bulkhead.deleteSource(replaces).catch(ignoreMissing)
      change(key, { replaces: null })
      const source = await sendFile(supabase, file, {
        ...settings,
        tenantId: tenant.id,
        signal: aborter.signal,
        onSent: (sent) => change(key, { sent }),
      })
      change(key, { phase: 'stored', sent: file.size, sourceId: source.id })
      void queryClient.invalidateQueries({ queryKey: ['documents', 'list'] })
    } catch (error) {
      if (aborter.signal.aborted) write(read().filter((each) => each.key !== key))
      else change(key, { phase: 'failed', error })
    }
    begin()
  }

  const dismiss = (key: string) => {
    const upload = read().find((each) => each.key === key)
    if (upload && canBeCancelled(upload)) upload.aborter.abort()
    write(read().filter((each) => each.key !== key))
  }

  const add = (files: Iterable<File>, settings: UploadSettings, replaces: string | null = null) => {
    const added = [...files].map((file): Upload => {
      const refusal = refusalOf(file)
      return {
        key: crypto.randomUUID(),
        file,
        settings,
        phase: refusal === null ? 'queued' : 'refused',
        sent: 0,
        sourceId: null,
        refusal,
        error: null,
        replaces,
        aborter: new AbortController(),
      }
    })
    write([...added, ...read()])
    begin()
  }

  return {
    /** Sends the files that can be; says of the others why not. */
    add: (files: Iterable<File>, settings: UploadSettings) => add(files, settings),
    /** Sends a file in place of a document whose bytes are missing or wrong. */
    replace: (file: File, settings: UploadSettings, sourceId: string) => add([file], settings, sourceId),
    /** Sends the bytes once more, in place of the document that came of them if there is one. */
    sendAgain(upload: Upload) {
      change(upload.key, {
        phase: 'queued',
        error: null,
        sent: 0,
        sourceId: null,
        replaces: upload.sourceId,
        aborter: new AbortController(),
      })
      begin()
    },
    /** Stops an upload that is under way, and takes it from the list. What is stored stays. */
    dismiss,
    dismissSettled(keys: string[]) {
      for (const key of keys) dismiss(key)
    },
  }
}

const ignoreMissing = (error: unknown) => {
  if ((error as { code?: string }).code !== 'not_found') throw error
}
