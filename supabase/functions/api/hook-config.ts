import { z } from 'zod'
import { AppError } from '../_shared/errors.ts'
import { parse } from '../_shared/http.ts'
import { droppedInList } from '../_shared/ignored-input.ts'
import { MAX_APPROVAL_SECONDS } from '../_shared/hooks/permissions.ts'
import { RULE_KEYS, parseRules, ruleConfig } from '../_shared/hooks/rules.ts'
import { HOOK_EVENTS } from '../_shared/hooks/types.ts'
import type { HookEvent } from '../_shared/hooks/types.ts'
import { outboundUrl } from './outbound-url.ts'

const HOOK_TYPES = ['http', 'rule', 'approval'] as const
type HookType = (typeof HOOK_TYPES)[number]

/** Events at which a refusal has an effect, and those that are about one tool. */
const BLOCKING: readonly HookEvent[] = ['OnRunStart', 'PreToolUse', 'OnDelegation', 'PreResponse']
const OF_A_TOOL: readonly HookEvent[] = ['PreToolUse', 'PostToolUse']

/** Body of `POST /api/agents/{id}/hooks`. */
export const hookRequest = z.object({
  event: z.enum(HOOK_EVENTS, `event must be one of ${HOOK_EVENTS.join(', ')}`),
  type: z.enum(HOOK_TYPES, `type must be one of ${HOOK_TYPES.join(', ')}`),
  config: z.record(z.string(), z.unknown(), 'config is required and must be an object'),
  matcher: z.string().trim().max(200, 'matcher may have 200 characters').nullish(),
  enabled: z.boolean().nullish(),
  position: z.number().int().min(0).max(10_000).nullish(),
})
export type HookRequest = z.output<typeof hookRequest>

/** `config` of a hook by its type. Members read it, so there is nothing in it that is meant to be secret. */
const CONFIGS = {
  http: z.object({
    url: outboundUrl('config.url'),
    timeout: z.number().min(0.1).max(5, 'config.timeout may be 5 seconds').optional(),
    include_run_context: z.boolean().optional(),
  }),
  approval: z.object({
    message: z.string().max(500).optional(),
    timeout: z.number().int().min(1).max(MAX_APPROVAL_SECONDS).optional(),
  }),
}

/**
 * Checks what a hook is to do, and when.
 * @returns its config without what is not known, and warnings that name what was left out or never happens.
 * @throws AppError `invalid_request`.
 */
export function checkHook(request: HookRequest): { config: Record<string, unknown>; warnings: string[] } {
  const { event, type } = request
  if (type === 'rule' && !BLOCKING.includes(event)) {
    throw new AppError('invalid_request', `A rule can only refuse, and nothing can be refused at ${event}`)
  }
  if (type === 'approval' && event !== 'PreToolUse') {
    throw new AppError('invalid_request', 'An approval is about a tool call: its event must be PreToolUse')
  }
  if (request.matcher && !OF_A_TOOL.includes(event)) {
    throw new AppError('invalid_request', `matcher names a tool, and ${event} is not about one`)
  }
  const warnings = event === 'OnDelegation' ? ['OnDelegation never happens here: agents do not call each other.'] : []
  const config = configOf(type, request.config)
  const ignored = Object.keys(request.config).filter((key) => !Object.hasOwn(config, key))
  const rules = Object.hasOwn(config, 'rules') ? droppedInList('config.rules', request.config['rules'], RULE_KEYS) : []
  return { config, warnings: [...warnings, ...ignored.slice(0, 20).map(ignoredKey), ...rules] }
}

const ignoredKey = (key: string) =>
  `The key ${JSON.stringify(key.slice(0, 60))} of config is not known here and was not stored.`

function configOf(type: HookType, given: Record<string, unknown>): Record<string, unknown> {
  if (type !== 'rule') return parse(z.object({ config: CONFIGS[type] }), { config: given }).config
  parseRules(given)
  return parse(ruleConfig, given)
}
