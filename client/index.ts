import { accessMethods } from './access.ts'
import { agentMethods } from './agents.ts'
import { approvalMethods } from './approvals.ts'
import { chatMethods } from './chat.ts'
import { connect } from './connection.ts'
import type { AnyClient } from './connection.ts'
import { peopleMethods } from './people.ts'
import { runMethods } from './runs.ts'
import { searchMethods } from './search.ts'
import { sourceMethods } from './sources.ts'
import { usageMethods } from './usage.ts'

export type { AccessReason, ReadableSource, SourceDeletion, SourceReader } from './access.ts'
export type {
  Agent,
  AgentChanges,
  AgentKnowledgeBase,
  AgentSession,
  AgentTool,
  SessionMessage,
  Tool,
} from './agents.ts'
export type { Approval, ApprovalVote, Decided } from './approvals.ts'
export type { ChatOptions } from './chat.ts'
export type { ChatEvent, Citation } from './chat-events.ts'
export type { Database } from './database.types.ts'
export { BulkheadError } from './errors.ts'
export { followRun, watchRuns } from './follow-run.ts'
export type { FollowRunOptions } from './follow-run.ts'
export type { Invitation, MyInvitation, Person, Role } from './people.ts'
export { createRunFollower } from './run-follower.ts'
export type { RunFollower, RunFollowerOptions, RunListener, RunLogPage, RunTransport } from './run-follower.ts'
export { createRunReducer } from './run-reducer.ts'
export type { RunEvent, RunReducer, RunState, RunSummary, RunToolCall } from './run-reducer.ts'
export type { Run, RunOverview } from './runs.ts'
export type { ContextSpan, SearchAnswer, SearchContext, SearchOptions, SearchResult } from './search.ts'
export type { Indexing, Source, SourceGrant, UploadOptions } from './sources.ts'
export type { BudgetPeriod, BudgetScope, BudgetState, UsageRow } from './usage.ts'
export { watchAccount } from './watch-account.ts'
export type { AccountListener, ApprovalChanged, MembershipChanged } from './watch-account.ts'

export type BulkheadOptions = {
  /** Which of the caller's tenants to act in. Needed by people in several; it can only narrow what they see. */
  tenantId?: string
}

/**
 * Bulkhead's functions over an existing supabase-js client, whose session says who is asking.
 *
 *     const bulkhead = createBulkhead(supabase)
 *     const source = await bulkhead.uploadSource(file)
 *     await bulkhead.waitUntilIndexed(source.id)
 *     for await (const event of bulkhead.chat({ message: 'What is covered?' })) …
 *
 * Every method throws BulkheadError when the answer is no.
 */
export function createBulkhead(supabase: AnyClient, options: BulkheadOptions = {}) {
  const connection = connect(supabase, options.tenantId)
  return {
    ...sourceMethods(connection),
    ...searchMethods(connection),
    ...chatMethods(connection),
    ...runMethods(connection),
    ...approvalMethods(connection),
    ...agentMethods(connection),
    ...accessMethods(connection),
    ...peopleMethods(connection),
    ...usageMethods(connection),
  }
}

export type Bulkhead = ReturnType<typeof createBulkhead>
