import type { Caller, Db } from '../context.ts'
import type { Log } from '../errors.ts'
import type { ContextItem, ToolDefinition } from '../providers/index.ts'

/** For whom a run acts. Tools get their data through it and in no other way: a client carries a token of the person. */
export type Principal = {
  readonly tenantId: string
  /** The person, or the tenant's backend principal: `sub` of every token. */
  readonly userId: string
  readonly agentId: string
  /** Public id, `run_...`. */
  readonly runId: string
  /** Internal id of the run. */
  readonly runUuid: string
  /**
   * The caller with a token that is good for at least half a minute: their own while it is fresh, else a delegated one
   * (`act: {sub: 'agent', agent_id, run_id}`), for which the membership is checked again.
   * @throws AppError `forbidden` once the person has left the tenant.
   */
  caller(): Promise<Caller>
  /**
   * The caller with a token that always says that the agent acts, and is good in the tenant of the run only. For whoever is
   * given the token itself. @throws as `caller`; AppError `unavailable` without a signing key.
   */
  actingCaller(): Promise<Caller>
  /** A client with such a token, narrowed to the tenant of the run. @throws as `caller`. */
  db(): Promise<Db>
  /**
   * A client whose token always says that the agent acts. For what changes data: the rows, and the audit log, say then
   * through whom (attack T12). @throws as `caller`; AppError `unavailable` without a signing key.
   */
  actingDb(): Promise<Db>
}

/** What one call of a tool is made with. */
export type ToolCallContext = {
  principal: Principal
  /** Id of the call, unique in the run; part of signed tokens. */
  callId: string
  /** Run and call, `{run_id}:{call_id}`: the same whenever the same call is made again, so that it takes effect once. */
  idempotencyKey: string
  /** Aborted when the run is cancelled, times out, or loses its lease. */
  signal: AbortSignal
  /** Logs ids, codes and durations, never arguments, results or credentials. */
  log: Log
}

/** What a tool answers the model. */
export type ToolResult = {
  /** Text for the model. Errors say what can be done instead. */
  text: string
  isError?: boolean
  /** Passages behind the text, for citations. */
  contextItems?: ContextItem[]
  /** The stored retrieval, for the event `context_handler_created`. */
  contextHandler?: { id: string; query: string }
}

/** A tool of an agent, ready to be called. */
export interface Tool extends ToolDefinition {
  readonly kind: 'builtin' | 'custom' | 'mcp'
  /** Whether calls of one step may run at the same time: reads only. */
  readonly isConcurrencySafe: boolean
  /**
   * Whether a call with these arguments may be made again, with the same call id, when its executor was lost while it ran:
   * it changes nothing, or whoever carries it out knows it by its idempotency key. Absent: as `isConcurrencySafe`.
   */
  readonly isRetrySafe?: boolean | ((args: Readonly<Record<string, unknown>>) => boolean)
  /**
   * What a call does beyond reading the caller's own data, for the rule that a run which has read untrusted text loses these
   * (attacks T02, T12): `reads_untrusted` brings text into the run that anybody may have written, `writes` changes data,
   * `egress` sends data out.
   */
  readonly effects: readonly ('reads_untrusted' | 'writes' | 'egress')[]
  /** Arguments that are settled for every call: in no schema, and put in whatever the model writes. Absent: none. */
  readonly settled?: Readonly<Record<string, unknown>>
  /** Characters of the result that the model gets; null: all of it. */
  readonly maxResultChars: number | null
  /**
   * Carries out one call. Arguments have been validated against `inputSchema`.
   * A failure the model can act on is a result with `isError`; AppErrors are made into one by the loop; only an abort by
   * `context.signal` may escape as an exception.
   */
  execute(args: Record<string, unknown>, context: ToolCallContext): Promise<ToolResult>
}
