import { BulkheadError, errorFromResponse } from '../../../../client/errors.ts'
import type { Source } from '../../../../client/index.ts'
import type { Supabase } from '../../app/backend.ts'
import { PROJECT } from '../../env.ts'
import type { Visibility } from './data.ts'

export type UploadSettings = {
  visibility: Visibility
  /** None: the tenant's default knowledge base. */
  knowledgeBaseIds: string[]
}

/**
 * Uploads a file as `bulkhead.uploadSource()` does, and tells how much of it is on its way. That is what it is for: `fetch`,
 * which supabase-js and the typed client use, says nothing of a body until it is sent; XMLHttpRequest does. The request is
 * the same one, with the person's own token.
 * @throws BulkheadError as `uploadSource()`; the reason of `signal` when that fires
 */
export async function sendFile(
  supabase: Supabase,
  file: File,
  options: UploadSettings & { tenantId: string; signal: AbortSignal; onSent: (bytes: number) => void },
): Promise<Source> {
  const { visibility, knowledgeBaseIds, tenantId, signal, onSent } = options
  const { data, error } = await supabase.auth.getSession()
  if (error || !data.session)
    throw error ?? new BulkheadError('Sign in again.', { code: 'unauthenticated', status: 401 })
  signal.throwIfAborted()

  const form = new FormData()
  form.append('file', file, file.name)
  form.append('visibility', visibility)
  for (const id of knowledgeBaseIds) form.append('knowledge_base_ids', id)

  const request = new XMLHttpRequest()
  request.open('POST', `${PROJECT.url}/functions/v1/sources`)
  request.setRequestHeader('authorization', `Bearer ${data.session.access_token}`)
  request.setRequestHeader('apikey', PROJECT.publishableKey)
  request.setRequestHeader('x-tenant-id', tenantId)
  request.upload.addEventListener('progress', (event) => {
    // The body is a little longer than the file.
    if (event.lengthComputable) onSent(Math.floor((event.loaded / event.total) * file.size))
  })
  const abort = () => request.abort()
  signal.addEventListener('abort', abort)
  try {
    await new Promise<void>((resolve, reject) => {
      request.addEventListener('load', () => resolve())
      request.addEventListener('abort', () => reject(signal.reason))
      request.addEventListener('error', () =>
        reject(new BulkheadError('The server cannot be reached.', { code: 'network', status: 0 })),
      )
      request.send(form)
    })
  } finally {
    signal.removeEventListener('abort', abort)
  }
  if (request.status >= 200 && request.status < 300) return JSON.parse(request.responseText) as Source
  throw await errorFromResponse(new Response(request.responseText, { status: request.status }))
}
