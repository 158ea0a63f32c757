import type { CallToolResult } from './sdk.ts'
import type { Caller, Db } from '../_shared/context.ts'
import { describeError, toAppError } from '../_shared/errors.ts'
import type { McpDeps } from './env.ts'

/** What a tool acts with: the caller of this request, and a client with their token. */
export type ToolContext = { caller: Caller; db: Db; deps: McpDeps; requestId: string }

/** Characters of one result. */
export const MAX_RESULT_CHARS = 50_000

/** A result that is a text. */
export const textResult = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] })

/** A result that is a value, as JSON. */
export const jsonResult = (value: unknown): CallToolResult => textResult(JSON.stringify(value))

/** What `run` gives, or what it throws as a result with `isError`: models can act on that, on a broken protocol they cannot. */
export async function answered(
  { deps, requestId }: ToolContext,
  tool: string,
  run: () => Promise<CallToolResult>,
): Promise<CallToolResult> {
  try {
    return await run()
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.status >= 500) {
      deps.log.error('tool_failed', { request_id: requestId, tool, code: error.code, error: describeError(thrown) })
    }
    const hint = error.hint === null ? '' : ` ${error.hint}`
    return { ...textResult(`Error: ${error.message}${hint}`), isError: true }
  }
}
