import { useState } from 'react'
import { PageHeader, Tabs } from '../../ui/index.ts'
import { History } from './history.tsx'
import { Inbox } from './inbox.tsx'

/** Calls of tools that wait for a person: those to decide about, and what became of earlier ones. */
export default function Approvals() {
  const [tab, setTab] = useState('inbox')
  return (
    <>
      <PageHeader
        title="Approvals"
        description="An agent that may not act alone asks here, with the exact arguments. The run waits and holds nothing until somebody with the right has decided."
      />
      <Tabs
        label="Approvals"
        value={tab}
        onChange={setTab}
        tabs={[
          { value: 'inbox', label: 'Waiting', content: <Inbox /> },
          { value: 'history', label: 'Decided', content: <History /> },
        ]}
      />
    </>
  )
}
