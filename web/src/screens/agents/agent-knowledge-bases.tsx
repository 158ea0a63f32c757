import { useMutation } from '@tanstack/react-query'
import { Library } from 'lucide-react'
import { useBackend } from '../../app/backend.ts'
import { useKnowledgeBases } from '../../app/knowledge-bases.ts'
import {
  Button,
  Card,
  DataTable,
  EmptyState,
  ErrorNotice,
  SelectField,
  Stack,
  useToast,
  Waiting,
} from '../../ui/index.ts'
import { useKnowledgeBaseLinks, useRefreshAgents } from './data.ts'

/** What the agent searches, as the person it works for. */
export function AgentKnowledgeBases({ agentId }: { agentId: string }) {
  const { bulkhead, can } = useBackend()
  const toast = useToast()
  const refresh = useRefreshAgents()
  const links = useKnowledgeBaseLinks(agentId)
  const all = useKnowledgeBases()
  const link = useMutation({
    mutationFn: (id: string) => bulkhead.linkKnowledgeBase(agentId, id),
    onError: (error) => toast.failed('It was not linked', error),
    onSettled: refresh,
  })
  const unlink = useMutation({
    mutationFn: (id: string) => bulkhead.unlinkKnowledgeBase(agentId, id),
    onError: (error) => toast.failed('It stays linked', error),
    onSettled: refresh,
  })
  const error = links.error ?? all.error
  if (error) return <ErrorNotice error={error} onRetry={() => void Promise.all([links.refetch(), all.refetch()])} />
  if (!links.data || !all.data) return <Waiting what="Reading the knowledge bases" />
  const nameOf = (id: string): string => all.data.find((each) => each.id === id)?.name ?? id
  const free = all.data.filter(({ id }) => !links.data.some((each) => each.knowledge_base_id === id))
  return (
    <Stack>
      {links.data.length === 0 ? (
        <EmptyState title="No knowledge base is linked" icon={<Library size={40} />}>
          With the first one the agent gets the tool knowledge_search by itself. It finds what the person asking may
          see, nothing else.
        </EmptyState>
      ) : (
        <DataTable
          caption="Linked knowledge bases"
          rows={links.data}
          keyOf={({ id }) => id}
          columns={[
            { title: 'Knowledge base', isHead: true, cell: ({ knowledge_base_id }) => nameOf(knowledge_base_id) },
            {
              title: 'Actions',
              hideTitle: true,
              cell: ({ id, knowledge_base_id }) =>
                can('member') && (
                  <Button
                    small
                    kind="danger"
                    aria-label={`Unlink ${nameOf(knowledge_base_id)}`}
                    busy={unlink.isPending && unlink.variables === id && 'Unlinking…'}
                    onClick={() => unlink.mutate(id)}
                  >
                    Unlink
                  </Button>
                ),
            },
          ]}
        />
      )}
      {can('member') && free.length > 0 && (
        <Card>
          <SelectField
            label="Link a knowledge base"
            value=""
            disabled={link.isPending}
            onChange={(event) => link.mutate(event.currentTarget.value)}
            options={[
              { value: '', label: 'Choose one', disabled: true },
              ...free.map(({ id, name }) => ({ value: id, label: name })),
            ]}
          />
        </Card>
      )}
    </Stack>
  )
}
