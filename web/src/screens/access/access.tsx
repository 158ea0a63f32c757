import { Route, Switch, useLocation, useParams } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { PageHeader, Stack, Tabs } from '../../ui/index.ts'
import { DocumentAccess } from './document-access.tsx'
import { PersonAccess } from './person-access.tsx'

/** Who can see a document and why, and what a person can see: the database's own answer. */
export default function Access() {
  return (
    <>
      <PageHeader
        title="Access"
        description="The answer of the database, from the same rules that decide each statement. It covers what you can see yourself and says nothing of the rest."
      />
      <Switch>
        <Route path="/document/:id">
          <Choice tab="document" />
        </Route>
        <Route path="/person/:id">
          <Choice tab="person" />
        </Route>
        <Route>
          <Choice tab="document" />
        </Route>
      </Switch>
    </>
  )
}

function Choice({ tab }: { tab: 'document' | 'person' }) {
  const { id } = useParams<{ id?: string }>()
  const { user } = useBackend()
  const [, navigate] = useLocation()
  return (
    <Stack>
      <Tabs
        label="Question"
        value={tab}
        onChange={(next) => navigate(next === 'person' ? `/person/${user.id}` : '/')}
        tabs={[
          {
            value: 'document',
            label: 'Who can see this document?',
            content: (
              <DocumentAccess
                id={tab === 'document' ? (id ?? null) : null}
                onChoose={(next) => navigate(`/document/${next}`)}
              />
            ),
          },
          {
            value: 'person',
            label: 'What can this person see?',
            content: (
              <PersonAccess
                id={tab === 'person' ? (id ?? user.id) : user.id}
                onChoose={(next) => navigate(`/person/${next}`)}
              />
            ),
          },
        ]}
      />
    </Stack>
  )
}
