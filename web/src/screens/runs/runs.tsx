import { Route, Switch } from 'wouter'
import { RunDetails } from './run-details.tsx'
import { RunList } from './run-list.tsx'

/** What agents have done for the person, and how: each run with its steps, waits and costs. */
export default function Runs() {
  return (
    <Switch>
      <Route path="/">
        <RunList />
      </Route>
      <Route path="/:id">{({ id }) => <RunDetails key={id} id={id} />}</Route>
    </Switch>
  )
}
