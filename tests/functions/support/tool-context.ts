import type { ToolCallContext } from '../../../supabase/functions/_shared/tools/types.ts'

/** A context for tools that take nothing from their principal: reading it fails the test. */
export function outsideContext(signal: AbortSignal = new AbortController().signal): ToolCallContext {
  return {
    callId: 'call_1',
    idempotencyKey: 'run_1:call_1',
    signal,
    log: { info() {}, error() {} },
    get principal(): never {
      throw new Error('This tool has no business with the principal.')
    },
  }
}
