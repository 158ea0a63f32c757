import type { LoopGates } from '../agent/types.ts'
import type { Hooks } from '../hooks/engine.ts'

/** The points at which a run's hooks stand between the loop and its tools. */
export function gatesOf(hooks: Hooks): LoopGates {
  return {
    async beforeTool(tool, args, callId) {
      const verdict = await hooks.run({ event: 'PreToolUse', tool_name: tool.name, data: args }, callId)
      if (verdict.blocked !== null) return { allowed: false, message: `Blocked by a hook: ${verdict.blocked}` }
      return { allowed: true, args: verdict.modifiedInput ?? args, isApproved: verdict.approved }
    },
    async afterTool(tool, args, text) {
      if (!hooks.has('PostToolUse')) return text
      const verdict = await hooks.run({ event: 'PostToolUse', tool_name: tool.name, data: args, output: text })
      return verdict.modifiedOutput ?? text
    },
  }
}
