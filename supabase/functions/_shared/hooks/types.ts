/** Points of a run at which hooks act. */
export const HOOK_EVENTS = [
  'OnRunStart',
  'PreToolUse',
  'OnDelegation',
  'PostToolUse',
  'PreResponse',
  'OnRunComplete',
] as const
export type HookEvent = (typeof HOOK_EVENTS)[number]

/** A hook of an agent, as the ledger gives it. */
export type HookRow = {
  id: string
  event: HookEvent
  /** Name of the tool it is about; null: every tool. */
  matcher: string | null
  type: 'http' | 'rule' | 'approval'
  config: Record<string, unknown>
  position: number
}

/** What a hook is told. */
export type HookPayload = {
  event: HookEvent
  tool_name: string | null
  data: Record<string, unknown>
  /** Result of a tool, for PostToolUse. */
  output?: string
}

/** What hooks made of it together: the last change wins, the first refusal ends it. */
export type HookVerdict = {
  blocked: string | null
  /** Id of the hook that refused. */
  blockedBy: string | null
  /** By a person, through an approval. */
  approved: boolean
  modifiedInput: Record<string, unknown> | null
  modifiedOutput: string | null
}
