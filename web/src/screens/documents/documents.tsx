import { Link, Route, Switch } from 'wouter'
import { EmptyState } from '../../ui/index.ts'
import { DocumentPage } from './document-page.tsx'
import { DocumentList } from './document-list.tsx'

/** Documents: what was uploaded, what became of it, who may see it, and its text. */
export default function Documents() {
  return (
    <Switch>
      <Route path="/">
        <DocumentList />
      </Route>
      <Route path="/:id/span/:from/:to">
        {({ id, from, to }) => (
          <DocumentPage key={`${id}/${from}/${to}`} id={id} span={{ from: Number(from), to: Number(to) }} />
        )}
      </Route>
      <Route path="/:id">{({ id }) => <DocumentPage key={id} id={id} />}</Route>
      <Route>
        <EmptyState title="There is no such page" actions={<Link href="/">All documents</Link>} />
      </Route>
    </Switch>
  )
}
