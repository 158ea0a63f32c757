import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { useBackend } from '../../app/backend.ts'
import { Badge, Button, ConfirmDialog, ErrorNotice, PageHeader, Row, ShortId, Tabs, Waiting } from '../../ui/index.ts'
import { AgentForm } from './agent-form.tsx'
import { AgentKnowledgeBases } from './agent-knowledge-bases.tsx'
import { AgentTools } from './agent-tools.tsx'
import { useAgent, useRefreshAgents } from './data.ts'
import { TryAgent } from './try-agent.tsx'

/** One agent: how it is set, what it may use, and a place to try it. */
export function AgentPage({ id }: { id: string }) {
  const { bulkhead, can } = useBackend()
  const [, navigate] = useLocation()
  const refresh = useRefreshAgents()
  const [isDeleting, setIsDeleting] = useState(false)
  const agent = useAgent(id)
  if (agent.error && !agent.data) {
    return (
      <>
        <PageHeader title="Agent" />
        <ErrorNotice error={agent.error} onRetry={() => void agent.refetch()} />
        <Link href="/">All agents</Link>
      </>
    )
  }
  if (!agent.data) return <Waiting what="Reading the agent" />
  const { name, published } = agent.data
  return (
    <>
      <PageHeader
        title={name}
        description={
          <Row>
            <Link href="/">All agents</Link>
            {published ? <Badge tone="good">published</Badge> : <Badge tone="warn">unpublished</Badge>}
            <ShortId id={id} />
          </Row>
        }
        actions={
          can('member') && (
            <Button kind="danger" onClick={() => setIsDeleting(true)}>
              Delete
            </Button>
          )
        }
      />
      <Tabs
        label={`Parts of ${name}`}
        tabs={[
          {
            value: 'settings',
            label: 'Settings',
            content: <AgentForm key={agent.data.updated_at} agent={agent.data} />,
          },
          { value: 'tools', label: 'Tools', content: <AgentTools agentId={id} /> },
          { value: 'knowledge', label: 'Knowledge bases', content: <AgentKnowledgeBases agentId={id} /> },
          { value: 'try', label: 'Try it', content: <TryAgent agentId={id} name={name} isPublished={published} /> },
        ]}
      />
      {isDeleting && (
        <ConfirmDialog
          open
          danger
          title={`Delete ${name}?`}
          action="Delete"
          busyLabel="Deleting…"
          onClose={() => setIsDeleting(false)}
          onConfirm={async () => {
            await bulkhead.deleteAgent(id)
            navigate('/')
            await refresh()
          }}
        >
          <p>
            Its tools, hooks and settings go with it, and runs that are under way stop. Conversations and documents
            stay.
          </p>
        </ConfirmDialog>
      )}
    </>
  )
}
