import type { GateMemory } from '../agent/types.ts'
import { AppError, describeError } from '../errors.ts'
import type { Log } from '../errors.ts'
import { canonical, createHookAnswers, questionOf } from './answers.ts'
import { askForApproval } from './approval.ts'
import type { ApprovalDeps, ApprovalRequest } from './approval.ts'
import type { ApprovalRule, Permissions } from './permissions.ts'
import { denialBy } from './rules.ts'
import type { HookEvent, HookPayload, HookRow, HookVerdict } from './types.ts'

/** Posts JSON through the egress guard. @throws whatever keeps an answer from arriving: AppError `upstream_timeout` when it takes too long. */
export type PostJson = (url: string, body: unknown, signal: AbortSignal) => Promise<{ status: number; json: unknown }>

export type HookDeps = ApprovalDeps & {
  hooks: readonly HookRow[]
  /** Who may call which tool. */
  permissions: Permissions
  log: Log
  postJson: PostJson
}

/** The tool call that hooks are asked about. `settled`: arguments that no hook changes. */
export type HookedCall = {
  id: string
  rule: ApprovalRule | null
  memory?: GateMemory | undefined
  settled?: Readonly<Record<string, unknown>> | undefined
}

/** What hooks see and may change of a run. */
export type Hooks = {
  /** How many there are, of all events. */
  readonly count: number
  has(event: HookEvent, toolName?: string): boolean
  /**
   * Lets the hooks of an event act, in their order.
   * @param call the tool call it is about: its id, for approvals the rule they are under when the tool has one of its own, and
   * what hooks have answered about it before, which is taken for their answer as long as they are the same and asked the same.
   * @throws RunSuspended while an approval is waited for.
   */
  run(payload: HookPayload, call?: HookedCall): Promise<HookVerdict>
  /** Whether a tool may be called in this run at all. */
  permissionOf: Permissions
  /** Asks people about a call. @returns null when it was approved, else why not. @throws as `askForApproval`. */
  ask(request: ApprovalRequest): Promise<string | null>
}

/** Seconds the decision of an approval hook is waited for unless it says otherwise. */
const DEFAULT_TIMEOUT_SECONDS = 300
/** Milliseconds an http hook may take. */
const HTTP_TIMEOUT_MS = 5_000
const MAX_MESSAGE_CHARS = 500
const CHANGED_BEHIND = 'The call was changed after a person had approved it'

/** What one hook made of it. */
type Outcome = Partial<HookVerdict> & { status: 'succeeded' | 'failed' | 'timed_out'; message: string | null }

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (value: unknown): string | null =>
  typeof value === 'string' && value.trim() !== '' ? value.slice(0, MAX_MESSAGE_CHARS) : null

/** Events at which a hook can refuse, and at which it can change something. */
const BLOCKING: readonly HookEvent[] = ['OnRunStart', 'PreToolUse', 'OnDelegation', 'PreResponse']
const CHANGES_OUTPUT: readonly HookEvent[] = ['PostToolUse', 'PreResponse']

/** Makes the hooks of one run. */
export function createHooks(deps: HookDeps): Hooks {
  const { hooks, emit, log } = deps

  async function overHttp(hook: HookRow, payload: HookPayload): Promise<Outcome> {
    const asked = Number(hook.config['timeout'] ?? Infinity) * 1000
    const timeout = AbortSignal.timeout(asked > 0 ? Math.min(asked, HTTP_TIMEOUT_MS) : HTTP_TIMEOUT_MS)
    try {
      const run = hook.config['include_run_context'] === true ? { run: { run_id: deps.run.run_id } } : {}
      const answer = await deps.postJson(
        String(hook.config['url'] ?? ''),
        { ...payload, ...run },
        AbortSignal.any([deps.signal, timeout]),
      )
      if (answer.status >= 300 || !isObject(answer.json)) return { status: 'failed', message: `HTTP ${answer.status}` }
      const { action, message, modified_input: input, modified_output: output } = answer.json
      return {
        status: 'succeeded',
        message: textOf(message),
        ...(action === 'deny' ? { blocked: textOf(message) ?? 'Denied by a hook' } : {}),
        ...(isObject(input) ? { modifiedInput: input } : {}),
        ...(typeof output === 'string' ? { modifiedOutput: output } : {}),
      }
    } catch (error) {
      deps.signal.throwIfAborted()
      // Fails open, as documented; the event and the log say so.
      log.error('hook_failed', { hook_id: hook.id, error: describeError(error) })
      // The request has a limit of its own below, and either may be the first to see that its time is up.
      const isLate = timeout.aborted || (error instanceof AppError && error.code === 'upstream_timeout')
      return { status: isLate ? 'timed_out' : 'failed', message: null }
    }
  }

  function byRule(hook: HookRow, payload: HookPayload): Outcome {
    try {
      const denial = denialBy(hook.config, {
        ...payload.data,
        ...payload,
        ...(payload.tool_name === null ? {} : { tool_input: payload.data }),
      })
      return { status: 'succeeded', message: denial, ...(denial === null ? {} : { blocked: denial }) }
    } catch (error) {
      // A rule that cannot be read fails closed.
      log.error('hook_failed', { hook_id: hook.id, error: describeError(error) })
      return { status: 'failed', message: null, blocked: 'A rule of this agent could not be applied' }
    }
  }

  async function byApproval(hook: HookRow, payload: HookPayload, { id, rule }: HookedCall): Promise<Outcome> {
    const timeout = hook.config['timeout']
    const seconds = typeof timeout === 'number' && timeout >= 1 ? Math.ceil(timeout) : DEFAULT_TIMEOUT_SECONDS
    const denial = await askForApproval(deps, {
      callId: id,
      toolName: payload.tool_name ?? '',
      toolInput: payload.data,
      message: textOf(hook.config['message']) ?? `Allow ${payload.tool_name ?? 'this'}?`,
      // One call is asked about once. What admins want of the tool is the stricter of the two.
      rule: rule ?? { expires_in_seconds: seconds },
    })
    return denial === null
      ? { status: 'succeeded', message: null, approved: true }
      : { status: denial === 'Approval timed out' ? 'timed_out' : 'succeeded', message: denial, blocked: denial }
  }

  const of = (payload: HookPayload) =>
    hooks
      .filter(({ event, matcher }) => event === payload.event && (matcher === null || matcher === payload.tool_name))
      .toSorted((a, b) => a.position - b.position)

  return {
    count: hooks.length,
    has: (event, toolName) =>
      hooks.some(
        (hook) =>
          hook.event === event && (toolName === undefined || hook.matcher === null || hook.matcher === toolName),
      ),
    permissionOf: deps.permissions,
    ask: (request) => askForApproval(deps, request),
    async run(payload, call = { id: '', rule: null }) {
      const verdict: HookVerdict = {
        blocked: null,
        blockedBy: null,
        approved: false,
        modifiedInput: null,
        modifiedOutput: null,
      }
      let current = payload
      const answers = createHookAnswers<Outcome>(call.memory)
      for (const hook of of(payload)) {
        const startedAt = Date.now()
        const question = await questionOf(hook, current)
        const known = answers.find(question)
        const outcome =
          known ??
          (hook.type === 'http'
            ? await overHttp(hook, current)
            : hook.type === 'rule'
              ? byRule(hook, current)
              : await byApproval(hook, current, call))
        const changed = payload.event === 'PreToolUse' ? (outcome.modifiedInput ?? null) : null
        const wanted = { ...changed, ...call.settled }
        const input = changed !== null && canonical(wanted) !== canonical(current.data) ? wanted : null
        // What a person approved is what they saw, and one call is asked about once: changed behind that it is not made at all.
        const isChangedBehind = input !== null && verdict.approved
        const refusal = outcome.blocked ?? (isChangedBehind ? CHANGED_BEHIND : null)
        const blocked = BLOCKING.includes(payload.event) ? refusal : null
        const output = CHANGES_OUTPUT.includes(payload.event) ? (outcome.modifiedOutput ?? null) : null
        if (input) current = { ...current, data: input }
        if (output !== null) {
          current = payload.event === 'PostToolUse' ? { ...current, output } : { ...current, data: { content: output } }
        }
        verdict.modifiedInput = input ?? verdict.modifiedInput
        verdict.modifiedOutput = output ?? verdict.modifiedOutput
        verdict.approved ||= outcome.approved === true
        // Told when it was given.
        if (known !== null) {
          if (blocked !== null) return { ...verdict, blocked, blockedBy: hook.id, approved: false }
          continue
        }
        // What a person said is kept with the approval, and one that failed is asked again.
        if (hook.type !== 'approval' && outcome.status === 'succeeded') answers.keep(question, outcome)
        emit('hook_result', {
          hook_id: hook.id,
          position: hook.position,
          hook_event: payload.event,
          status: outcome.status,
          modified: input !== null || output !== null,
          blocked: blocked !== null,
          latency_ms: Date.now() - startedAt,
          message: outcome.message,
        })
        if (blocked !== null) return { ...verdict, blocked, blockedBy: hook.id, approved: false }
      }
      return verdict
    },
  }
}
