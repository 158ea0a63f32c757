import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { type Backend, useBackend } from '../../app/backend.ts'
import type { PersonRow } from '../../app/people.tsx'
import { dataOf } from '../../lib/errors.ts'
import { type State, stateOf } from './state.ts'

const COLUMNS =
  'id, name, file_type, size_bytes, visibility, owner_id, extraction_status, uploaded_at, extracted_at, page_count, reason_code, error_message, attempts, next_retry_at, created_at, places:indexed_sources(id, knowledge_base_id, index_status, indexed_at, reason_code, error_message, attempts, next_retry_at)'

export type Visibility = 'tenant' | 'private' | 'granted'

type Row = Awaited<ReturnType<typeof readDocuments>>[number]
/** A document as the list and its own page show it. */
export type Document = Omit<Row, 'visibility'> & { visibility: Visibility; state: State }

const documentOf = (row: Row): Document => ({
  ...row,
  visibility: row.visibility as Visibility,
  state: stateOf(row),
})

const readDocuments = async (supabase: Backend['supabase'], ids: string[], signal: AbortSignal) =>
  dataOf(await supabase.schema('ai').from('sources').select(COLUMNS).in('id', ids).abortSignal(signal))

/** Milliseconds between looks at what is under way. */
const LOOK_AGAIN_MS = 1_500
export const PAGE_SIZE = 25

/** What the list can be narrowed to; each is one condition on the document or on one of its knowledge bases. */
export const STATE_FILTERS: readonly {
  value: string
  label: string
  extraction?: string[]
  places?: string[]
}[] = [
  { value: 'any', label: 'Any state' },
  { value: 'indexed', label: 'Indexed', places: ['indexed'] },
  { value: 'reading', label: 'Stored or being read', extraction: ['pending', 'extracting'] },
  { value: 'indexing', label: 'Being indexed', extraction: ['extracted'], places: ['pending', 'indexing'] },
  { value: 'failed', label: 'Could not be read', extraction: ['failed', 'attention_required'] },
  { value: 'index-failed', label: 'Could not be indexed', extraction: ['extracted'], places: ['failed'] },
  { value: 'cancelled', label: 'Cancelled', extraction: ['cancelled'] },
]

export type ListFilter = { name: string; state: string; offset: number }

/** A page of the documents, the newest first, with how many there are; looked at again while something is under way. */
export function useDocuments(filter: ListFilter) {
  const { supabase, tenant } = useBackend()
  return useQuery({
    queryKey: ['documents', 'list', filter],
    queryFn: async ({ signal }) => {
      const state = STATE_FILTERS.find((each) => each.value === filter.state)
      // A second look at the same table decides which rows are listed; the first still shows all their knowledge bases.
      let query = supabase
        .schema('ai')
        .from('sources')
        .select(state?.places ? `${COLUMNS}, wanted:indexed_sources!inner(id)` : COLUMNS, { count: 'exact' })
        .eq('tenant_id', tenant.id)
      if (state?.places) query = query.in('wanted.index_status', state.places)
      if (state?.extraction) query = query.in('extraction_status', state.extraction)
      if (filter.name !== '') query = query.ilike('name', `%${filter.name.replace(/[\\%_]/g, '\\$&')}%`)
      const answer = await query
        .order('created_at', { ascending: false })
        .order('id')
        .range(filter.offset, filter.offset + PAGE_SIZE - 1)
        .abortSignal(signal)
      const rows = dataOf(answer) as unknown as Row[]
      return { documents: rows.map(documentOf), total: answer.count ?? rows.length }
    },
    placeholderData: keepPreviousData,
    refetchInterval: ({ state: { data } }) =>
      data?.documents.some((document) => !document.state.isSettled) ? LOOK_AGAIN_MS : false,
  })
}

/** One document, null when there is none to see; looked at again while it is under way. */
export function useDocument(id: string) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['documents', 'one', id],
    queryFn: async ({ signal }) => {
      const [row] = await readDocuments(supabase, [id], signal)
      return row ? documentOf(row) : null
    },
    refetchInterval: ({ state: { data } }) => (data && !data.state.isSettled ? LOOK_AGAIN_MS : false),
  })
}

/** The documents of these ids by id, asked for together; looked at again until all are settled. */
export function useDocumentStates(ids: string[]) {
  const { supabase } = useBackend()
  return useQuery({
    queryKey: ['documents', 'states', ids],
    queryFn: async ({ signal }) => {
      const rows = await readDocuments(supabase, ids, signal)
      return Object.fromEntries(rows.map((row): [string, Document] => [row.id, documentOf(row)]))
    },
    enabled: ids.length > 0,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state: { data } }) =>
      data && Object.values(data).every((document) => document.state.isSettled) ? false : LOOK_AGAIN_MS,
  })
}

/** The groups of the tenant. */
export function useGroups(enabled: boolean) {
  const { supabase, tenant } = useBackend()
  return useQuery({
    queryKey: ['documents', 'groups'],
    queryFn: async ({ signal }) =>
      dataOf(
        await supabase.from('groups').select('id, name').eq('tenant_id', tenant.id).order('name').abortSignal(signal),
      ),
    enabled,
  })
}

/** Whether the person may change and delete a document; what they see and is not theirs, an admin may. */
export const mayChange = ({ can, user }: Pick<Backend, 'can' | 'user'>, ownerId: string | null): boolean =>
  can('member') && (ownerId === user.id || can('admin'))

/** Who a document belongs to, in words. */
export function ownerText(ownerId: string | null, people: readonly PersonRow[] | undefined, userId: string): string {
  if (ownerId === null) return 'the backend'
  if (ownerId === userId) return 'you'
  if (!people) return '…'
  return people.find((person) => person.user_id === ownerId)?.email ?? 'a former member'
}
