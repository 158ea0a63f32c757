import { Route, Switch } from 'wouter'
import { AgentList } from './agent-list.tsx'
import { AgentPage } from './agent-page.tsx'

/** Agents of the tenant: what they are told, what they may use, and trying them. */
export default function Agents() {
  return (
    <Switch>
      <Route path="/:id">{({ id }) => <AgentPage key={id} id={id} />}</Route>
      <Route>
        <AgentList />
      </Route>
    </Switch>
  )
}
