import { useQuery, useQueryClient } from '@tanstack/react-query'
import type { AgentTool } from '../../../../client/index.ts'
import { useBackend } from '../../app/backend.ts'

/** What a tool's assignment asks of whom (docs/approvals.md); empty: everybody may. */
export type Permissions = {
  default?: Permission
  roles?: Partial<Record<'viewer' | 'member' | 'admin' | 'owner' | 'backend', Permission>>
  approval?: {
    role?: string | null
    group_id?: string | null
    four_eyes?: boolean
    quorum?: number
    expires_in_seconds?: number
    message?: string | null
  }
}
export type Permission = 'allow' | 'ask' | 'deny'
export type Assignment = Omit<AgentTool, 'permissions'> & { permissions: Permissions }

export const PAGE = 50

export function useAgentList(offset: number, words: string) {
  const { bulkhead } = useBackend()
  return useQuery({
    queryKey: ['agents', 'list', offset, words],
    queryFn: () => bulkhead.listAgents({ limit: PAGE, offset, ...(words ? { q: words } : {}) }),
    placeholderData: (previous) => previous,
  })
}

export function useAgent(id: string) {
  const { bulkhead } = useBackend()
  return useQuery({
    queryKey: ['agents', id],
    queryFn: () => bulkhead.getAgent(id),
    // A form stands on it: what somebody else changes meanwhile must not pull it away.
    refetchOnWindowFocus: false,
  })
}

export function useAssignments(agentId: string) {
  const { bulkhead } = useBackend()
  return useQuery({
    queryKey: ['agents', agentId, 'tools'],
    queryFn: async () => (await bulkhead.agentTools(agentId)) as Assignment[],
  })
}

export function useKnowledgeBaseLinks(agentId: string) {
  const { bulkhead } = useBackend()
  return useQuery({
    queryKey: ['agents', agentId, 'knowledge-bases'],
    queryFn: () => bulkhead.agentKnowledgeBases(agentId),
  })
}

/** Every tool there is: built-in ones and the tenant's own. */
export function useTools() {
  const { bulkhead } = useBackend()
  return useQuery({ queryKey: ['agents', 'all-tools'], queryFn: () => bulkhead.listTools(), staleTime: 60_000 })
}

/** Reads again whatever is shown of agents. */
export function useRefreshAgents(): () => Promise<void> {
  const queryClient = useQueryClient()
  return () => queryClient.invalidateQueries({ queryKey: ['agents'] })
}
