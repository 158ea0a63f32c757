import { useQuery } from '@tanstack/react-query'
import { Eye } from 'lucide-react'
import { useDeferredValue, useState } from 'react'
import { Link } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { dataOf } from '../../lib/errors.ts'
import { links } from '../../lib/links.ts'
import { Badge, Button, DataTable, EmptyState, ErrorNotice, Stack, TextField, Waiting } from '../../ui/index.ts'
import { Reasons } from './reasons.tsx'

const SHOWN = 8

/** Choose a document by name; then everybody who can see it, and why. */
export function DocumentAccess({ id, onChoose }: { id: string | null; onChoose: (id: string) => void }) {
  const { supabase } = useBackend()
  const [words, setWords] = useState('')
  const wanted = useDeferredValue(words.trim())
  const documents = useQuery({
    queryKey: ['access', 'documents', wanted],
    queryFn: async ({ signal }) => {
      const query = supabase.schema('ai').from('sources').select('id, name, visibility')
      // Wildcards of LIKE that somebody types are meant as they stand.
      const named = wanted ? query.ilike('name', `%${wanted.replaceAll(/[%_\\]/g, '\\$&')}%`) : query
      return dataOf(await named.order('created_at', { ascending: false }).limit(SHOWN).abortSignal(signal))
    },
    placeholderData: (previous) => previous,
  })
  return (
    <Stack>
      {id && <Viewers id={id} />}
      <TextField
        label={id ? 'Another document' : 'Document'}
        hint="Part of its name."
        type="search"
        value={words}
        onChange={(event) => setWords(event.currentTarget.value)}
      />
      {documents.error && <ErrorNotice error={documents.error} onRetry={() => void documents.refetch()} />}
      {documents.isPending && <Waiting what="Looking for documents" />}
      {documents.data?.length === 0 && (
        <EmptyState
          title={wanted ? 'No document has that in its name' : 'There is no document yet'}
          icon={<Eye size={40} />}
          actions={<Link href="~/documents">Go to the documents</Link>}
        >
          Each document is for the whole tenant, private to who uploaded it, or granted to people and groups.
        </EmptyState>
      )}
      {documents.data && documents.data.length > 0 && (
        <DataTable
          caption="Documents to choose from"
          rows={documents.data}
          keyOf={(document) => document.id}
          columns={[
            {
              title: 'Document',
              isHead: true,
              cell: (document) => (
                <Button kind="quiet" small onClick={() => onChoose(document.id)}>
                  {document.name}
                </Button>
              ),
            },
            { title: 'Visibility', cell: ({ visibility }) => <Badge>{visibility}</Badge> },
          ]}
        />
      )}
    </Stack>
  )
}

function Viewers({ id }: { id: string }) {
  const { supabase } = useBackend()
  const viewers = useQuery({
    queryKey: ['access', 'document', id],
    queryFn: async ({ signal }) => {
      const [document, people] = await Promise.all([
        supabase.schema('ai').from('sources').select('name, visibility').eq('id', id).abortSignal(signal).maybeSingle(),
        supabase.schema('ai').rpc('source_access', { source_id: id }).abortSignal(signal),
      ])
      return { people: dataOf(people), document: document.data }
    },
  })
  if (viewers.error) return <ErrorNotice error={viewers.error} onRetry={() => void viewers.refetch()} />
  if (!viewers.data) return <Waiting what="Asking the database who can see it" />
  const { document, people } = viewers.data
  return (
    <Stack gap={3}>
      <h2>
        <Link href={links.document(id)}>{document?.name ?? 'Document'}</Link>{' '}
        <Badge>{document?.visibility ?? ''}</Badge>
      </h2>
      <DataTable
        caption="Who can see it"
        rows={people}
        keyOf={(person) => person.user_id}
        columns={[
          { title: 'Person', isHead: true, cell: (person) => person.email },
          { title: 'Role', cell: (person) => <Badge>{person.role}</Badge> },
          { title: 'Because', cell: (person) => <Reasons reasons={person.reasons} /> },
          {
            title: 'More',
            hideTitle: true,
            cell: (person) => <Link href={links.person(person.user_id)}>What else can they see?</Link>,
          },
        ]}
      />
      <p>The tenant’s backend, with the secret key, sees everything of the tenant and is not listed.</p>
    </Stack>
  )
}
