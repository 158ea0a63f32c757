import type { Db } from '../context.ts'
import { fromPostgrest, missing } from '../errors.ts'

/** Columns of ai.agents that this function reads. */
export const AGENT_COLUMNS = 'id,tenant_id,name,model,system_prompt,settings,is_default,published,created_at,updated_at'

/** A row of ai.agents. */
export type AgentRow = {
  id: string
  tenant_id: string
  name: string
  model: string | null
  system_prompt: string | null
  settings: Record<string, unknown>
  is_default: boolean
  /** Whether runs of it may begin and go on. */
  published: boolean
  created_at: string
  updated_at: string
}

/** An agent the caller can see. @throws AppError `agent_not_found`. */
export async function findAgent(db: Db, id: string): Promise<AgentRow> {
  const { data, error } = await db
    .schema('ai')
    .from('agents')
    .select(AGENT_COLUMNS)
    .eq('id', id)
    .maybeSingle<AgentRow>()
  if (error) throw fromPostgrest(error)
  if (data === null) throw missing('agent')
  return data
}
