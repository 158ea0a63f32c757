import { z } from 'zod'
import type { ResumedStep } from '../agent/journal.ts'
import type { Caller, Db, Deps } from '../context.ts'
import { missing, unwrap } from '../errors.ts'
import { parse } from '../http.ts'
import { createPrincipal } from '../principal.ts'
import type { ChatRequest, WithChat } from '../providers/index.ts'
import type { ClaimedRun, RunEvent } from '../run-ledger.ts'
import { historyMessages, startRun } from '../runs.ts'
import type { OpenedRun, StartedRun } from '../runs.ts'
import type { WithSearch } from '../search.ts'
import type { WithTools } from '../tools/registry.ts'
import { findAgent } from './agent.ts'
import type { AgentRow } from './agent.ts'
import { settingOf } from './agent-settings.ts'
import { equip, runtimeKnowledgeBases } from './equipment.ts'
import { createIllustration } from './illustration.ts'
import type { Execution, Resumption } from './outcome.ts'
import { collectRunContext, rereadRunContext } from './run-context.ts'
import type { RunContext } from './run-context.ts'
import { checkRunRequest, runRequest } from './run-request.ts'
import type { RunRequest } from './run-request.ts'
import { MAX_EVENTS, NOT_KEPT } from './run-trace.ts'
import type { WithRuns } from './settings.ts'

/** All that carrying out a run needs from outside. */
export type RunDeps = Deps & WithChat & WithSearch & WithTools & WithRuns

const DEFAULT_TIMEOUT_SECONDS = 120
const DEFAULT_MAX_STEPS = 25

/** How the agent's settings and the request together want the model asked. */
function samplingOf(settings: Record<string, unknown>, body: RunRequest): Partial<ChatRequest> {
  const temperature = body.temperature ?? settingOf(settings, 'temperature')
  const maxTokens = settingOf(settings, 'max_tokens')
  const reasoningEffort = settingOf(settings, 'reasoning_effort') ?? (body.reasoning_requested ? 'medium' : undefined)
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(reasoningEffort === undefined ? {} : { reasoningEffort }),
    ...(body.response_format ? { responseFormat: body.response_format } : {}),
  }
}

/** The model to ask for: the agent's, else that of the deployment; null: the provider's. */
export const modelOf = ({ runs }: WithRuns, { model }: Pick<AgentRow, 'model'>): string | null =>
  model || runs.defaults.model

/**
 * Whether an earlier turn of the session had context or called tools. What it read may have told it what to say, and that
 * answer is history now: a clean beginning would wash the taint off.
 */
async function hasReadUntrusted(db: Db, run: StartedRun): Promise<boolean> {
  if (run.history.length === 0) return false
  const rows = unwrap<{ id: string }[]>(
    await db
      .schema('ai')
      .from('agent_runs')
      .select('id')
      .eq('session_id', run.session_uuid)
      .neq('id', run.id)
      .or('tool_call_count.gt.0,retrieved_context.neq.[]')
      .limit(1),
  )
  return rows.length > 0
}

/** What an execution is made of, whoever opened the run. */
type Parts = {
  run: StartedRun
  caller: Caller
  db: Db
  agent: AgentRow
  body: RunRequest
  context: RunContext
  streams: boolean
  warnings: string[]
  resumed: Resumption | null
}

async function executionOf(deps: RunDeps, parts: Parts): Promise<Execution> {
  const { run, caller, db, agent, body, context, streams, resumed } = parts
  const sampling = samplingOf(agent.settings, body)
  const model = modelOf(deps, agent)
  const runtimeBases = await runtimeKnowledgeBases(db, body.runtime_knowledge_bases ?? [])
  const messages = [...historyMessages(run.history), { role: 'user' as const, content: body.message }]
  const citations = context.citable && body.citations_enabled === true
  const timeout = body.timeout_seconds ?? settingOf(agent.settings, 'timeout_seconds') ?? DEFAULT_TIMEOUT_SECONDS
  const spentMs = resumed?.steps.reduce((sum, { record }) => sum + (record?.duration_ms ?? 0), 0) ?? 0
  const principal = createPrincipal(deps, caller, run, agent.id)
  const access = { db: () => principal.db(), objects: deps.tools.pageImages, log: deps.log }
  const illustration = createIllustration(access, resumed?.steps ?? [])
  return {
    run,
    resumed,
    request: {
      ...(model === null ? {} : { model }),
      system: agent.system_prompt ?? '',
      messages,
      context: context.items,
      citations,
      ...sampling,
    },
    principal,
    asking: illustration.chat,
    equip: async (given) =>
      illustration.watch(
        await equip(deps, {
          ...given,
          withTools: streams,
          citations,
          runtimeBases,
          searches: body.knowledge_search !== false,
          history: messages,
        }),
      ),
    maxSteps: settingOf(agent.settings, 'max_steps') ?? DEFAULT_MAX_STEPS,
    fallbackModel: settingOf(agent.settings, 'fallback_model') ?? null,
    isTainted: streams && (await hasReadUntrusted(db, run)),
    contextHandlerId: context.handlerId,
    knownTexts: [
      ...context.items.map((item) => item.text),
      ...messages.map((m) => m.content),
      agent.system_prompt ?? '',
    ],
    reasoningRequested: sampling.reasoningEffort !== undefined,
    isBuffered: settingOf(agent.settings, 'buffer_response') === true,
    timeoutMs: Math.max(timeout * 1000 - spentMs, 1000),
    warnings: [...parts.warnings, ...context.warnings],
    retrievalWarning: context.retrievalWarning,
  }
}

/** A run as it was opened, and how to carry it out; null when it waits for its turn. */
export type Opened = { run: OpenedRun; execution: Execution | null }

/**
 * Everything that can still be answered with an HTTP status: context, and opening the run.
 * @param reader the caller, narrowed to the agent's tenant: whatever else they may see, the run sees that tenant only.
 * @param warnings about the request.
 * @throws AppError what is missing, or refused by the database.
 */
export async function openRun(
  deps: RunDeps,
  reader: { db: Db; caller: Caller },
  agent: AgentRow,
  body: RunRequest,
  { streams, warnings }: { streams: boolean; warnings: string[] },
): Promise<Opened> {
  const context = await collectRunContext({ ...reader, agent }, deps, body, agent.settings)
  // An unknown one is refused before there is a run.
  await runtimeKnowledgeBases(reader.db, body.runtime_knowledge_bases ?? [])
  const run = await startRun(reader.db, {
    agentId: agent.id,
    sessionId: body.session_id || null,
    message: body.message,
    model: deps.chat.modelFor(modelOf(deps, agent)),
    provider: deps.chat.name,
    // Raw context too, which nothing cites: a later turn has to see that there was some.
    context: context.items,
    contextHandlerId: context.handlerId,
    request: { ...body, warnings },
    multitaskStrategy: body.multitask_strategy ?? 'queue',
    streams,
    chatMessageId: body.chat_message_id ?? null,
  })
  const token = run.lease_token
  if (token === null) return { run, execution: null }
  const parts = { run: { ...run, lease_token: token }, agent, body, context, streams, warnings, resumed: null }
  return { run, execution: await executionOf(deps, { ...parts, ...reader }) }
}

/** What a claim says about the run itself. */
export const runOf = (claim: ClaimedRun): StartedRun => ({
  id: claim.id,
  run_id: claim.run_id,
  session_id: claim.session_id,
  session_uuid: claim.session_uuid,
  is_new_session: claim.is_new_session,
  lease_token: claim.lease_token,
  tenant_id: claim.tenant_id,
  user_id: claim.user_id,
  history: claim.history,
})

/** Events of a run so far that are kept with it. */
async function keptEvents(db: Db, run: ClaimedRun): Promise<Record<string, unknown>[]> {
  if (run.last_seq === 0) return []
  const rows = unwrap<{ payload: RunEvent }[]>(
    await db
      .schema('ai')
      .from('run_events')
      .select('payload')
      .eq('run_id', run.id)
      .not('type', 'in', `(${NOT_KEPT.join(',')})`)
      .order('seq')
      .limit(MAX_EVENTS),
  )
  return rows.map(({ payload }) => payload)
}

/** What was found about the request when it came; the caller cannot write it, for a request has no such field. */
const requestWarnings = (request: unknown): string[] =>
  z.object({ warnings: z.array(z.string()) }).safeParse(request).data?.warnings ?? []

/**
 * Makes ready to go on with a run, or to begin one that waited: from the caller's words, and everything else as the person
 * may read it now.
 * @param caller the person, where they are here themselves; else a token is minted for them.
 * @throws AppError what is gone or may not be read any more, `invalid_request` when the request cannot be read.
 */
export async function resumeExecution(deps: RunDeps, claim: ClaimedRun, caller?: Caller): Promise<Execution> {
  const run = runOf(claim)
  const body = parse(runRequest, claim.request)
  checkRunRequest(body, claim.streams)
  if (claim.agent_id === null) throw missing('agent')
  const absent: Caller = { userId: claim.principal_id, token: '', tenantId: claim.tenant_id }
  const present = caller?.userId === claim.principal_id ? { ...caller, tenantId: claim.tenant_id } : absent
  const acting = await createPrincipal(deps, present, run, claim.agent_id).caller()
  const db = deps.clientFor(acting)
  const agent = await findAgent(db, claim.agent_id)
  const [context, events] = await Promise.all([
    rereadRunContext(db, deps, body, agent.settings, claim),
    keptEvents(db, claim),
  ])
  const steps = claim.steps as unknown as ResumedStep[]
  const resumed = { lastSeq: claim.last_seq, steps, usage: claim.usage, events }
  return executionOf(deps, {
    run, caller: acting, db, agent, body, context, resumed, streams: claim.streams, warnings: requestWarnings(claim.request),
  }) // prettier-ignore
}
