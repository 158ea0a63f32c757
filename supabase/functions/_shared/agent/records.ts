/** One call of a tool, as it is stored. In a file of its own: the ledger, which every function has, needs no more of the loop. */
export type ToolCallRecord = {
  step: number
  call_id: string
  tool_name: string
  arguments: Record<string, unknown>
  /** What the model got. */
  result: string
  is_error: boolean
  duration_ms: number
}
