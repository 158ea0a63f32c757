import type { LoopGates } from '../agent/types.ts'
import type { Hooks } from '../hooks/engine.ts'
import type { Tool } from '../tools/types.ts'

type Arguments = Record<string, unknown>

/** The arguments as the call is made: with those that are settled, which are no less a part of it. */
const asMade = ({ settled }: Tool, args: Arguments): Arguments => (settled ? { ...args, ...settled } : args)
/** Those that are not settled. */
const asWritten = ({ settled }: Tool, args: Arguments): Arguments =>
  settled ? Object.fromEntries(Object.entries(args).filter(([name]) => !Object.hasOwn(settled, name))) : args

/**
 * The points at which a run's permissions and hooks stand between the loop and its tools. First what admins allow: a tool that
 * is denied is asked about nowhere. Then the hooks. Last the approval that admins want, about the arguments as they are then,
 * unless a hook has asked for it. Hooks and people are shown settled arguments, too; nobody but the assignment changes them.
 */
export function gatesOf(hooks: Hooks): LoopGates {
  const denies = (tool: Tool) =>
    hooks.permissionOf(tool).permission === 'deny'
      ? `Refused: ${tool.name} may not be called for this person. Do not try again.`
      : null
  return {
    denies,
    asksAbout(tool) {
      const { permission } = hooks.permissionOf(tool)
      return permission !== 'deny' && (permission === 'ask' || hooks.has('PreToolUse', tool.name))
    },
    async beforeTool(tool, args, callId, memory) {
      const denial = denies(tool)
      if (denial !== null) return { allowed: false, message: denial }
      const { permission, rule } = hooks.permissionOf(tool)
      const asks = permission === 'ask'
      const verdict = await hooks.run(
        { event: 'PreToolUse', tool_name: tool.name, data: asMade(tool, args) },
        { id: callId, rule: asks ? rule : null, memory, settled: tool.settled },
      )
      if (verdict.blocked !== null) {
        // Hooks have no names: this is how the agent's list of hooks has it.
        return { allowed: false, message: `Blocked by the PreToolUse hook ${verdict.blockedBy}: ${verdict.blocked}` }
      }
      const written = verdict.modifiedInput === null ? args : asWritten(tool, verdict.modifiedInput)
      if (!asks || verdict.approved) return { allowed: true, args: written, isApproved: verdict.approved }
      const refusal = await hooks.ask({
        callId,
        toolName: tool.name,
        toolInput: asMade(tool, written),
        message: rule.message ?? `Allow ${tool.name}?`,
        rule,
      })
      if (refusal !== null) return { allowed: false, message: `Not approved: ${refusal}` }
      return { allowed: true, args: written, isApproved: true }
    },
    async afterTool(tool, args, text) {
      if (!hooks.has('PostToolUse')) return text
      const verdict = await hooks.run({
        event: 'PostToolUse',
        tool_name: tool.name,
        data: asMade(tool, args),
        output: text,
      })
      return verdict.modifiedOutput ?? text
    },
  }
}
