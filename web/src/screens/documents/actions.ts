import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { useToast } from '../../ui/index.ts'
import type { Document } from './data.ts'
import type { Place } from './state.ts'

/** What a person does to a document; each reads the document anew and tells when it was refused. */
export function useDocumentActions() {
  const { supabase, bulkhead } = useBackend()
  const queryClient = useQueryClient()
  const toast = useToast()
  const ai = supabase.schema('ai')

  const mutation = <Argument>(failed: string, act: (argument: Argument) => Promise<unknown>) => ({
    mutationFn: act,
    onError: (error: unknown) => toast.failed(failed, error),
    onSettled: () => queryClient.invalidateQueries({ queryKey: ['documents'], predicate: isRead }),
  })

  return {
    /** Begins again where it failed: with the text, or where that is there, with the index. */
    retry: useMutation(
      mutation('It was not begun again', async (document: Pick<Document, 'id'>) =>
        dataOf(await ai.rpc('retry_source', { source_id: document.id })),
      ),
    ),
    /** Extracts the text of a document anew, and indexes it anew wherever it is indexed. */
    reextract: useMutation(
      mutation('It was not begun again', async (document: Pick<Document, 'id'>) =>
        dataOf(await ai.rpc('reextract_source', { source_id: document.id })),
      ),
    ),
    cancelExtraction: useMutation(
      mutation('It was not cancelled', async (document: Pick<Document, 'id'>) =>
        dataOf(await ai.rpc('cancel_extraction', { source_id: document.id })),
      ),
    ),
    /** Puts a document into a knowledge base, or indexes it anew there. */
    index: useMutation(
      mutation('It was not put there', async (to: { sourceId: string; knowledgeBaseId: string }) =>
        dataOf(
          await ai.rpc('add_source_to_knowledge_base', {
            source_id: to.sourceId,
            knowledge_base_id: to.knowledgeBaseId,
          }),
        ),
      ),
    ),
    cancelIndexing: useMutation(
      mutation('It was not cancelled', async (place: Pick<Place, 'id'>) =>
        dataOf(await ai.rpc('cancel_indexing', { indexed_source_id: place.id })),
      ),
    ),
    /** Opens the original in a tab of its own. */
    openOriginal: useMutation({
      mutationFn: async (document: Pick<Document, 'id'>) => {
        // Opened before the link is there: a browser lets a click open a tab, but not what comes later.
        const tab = open('', '_blank')
        if (tab) tab.opener = null
        try {
          const { url } = await bulkhead.downloadUrl(document.id)
          if (tab) tab.location.replace(url)
          else location.assign(url)
        } catch (error) {
          tab?.close()
          throw error
        }
      },
      onError: (error) => toast.failed('The original cannot be opened', error),
    }),
  }
}

/** Everything of documents but the uploads, which nobody can read anew. */
const isRead = ({ queryKey }: { queryKey: readonly unknown[] }) => queryKey[1] !== 'uploads'
