import { z } from 'zod'
import { PRIORITIES } from '../_shared/priorities.ts'

/** The answers of the agent API as its OpenAPI document shows them. They describe: only tests compare real answers with them. */

const id = z.uuid()
const moment = z.iso.datetime({ offset: true })
const object = z.record(z.string(), z.unknown())
const masked = z.record(z.string(), z.literal('***')).describe('Values are written, never read back.')

export const errorShape = z
  .looseObject({
    error: z.string().describe('A sentence for people; a code for duplicate_source.'),
    code: z.string().describe('One of docs/errors.md.'),
    request_id: z.string(),
    hint: z.string().optional(),
  })
  .meta({ id: 'Error' })

export const page = { total: z.int(), limit: z.int(), offset: z.int() }

const created = {
  id,
  name: z.string(),
  model: z.string(),
  system_prompt: z.string().nullable(),
  settings: object,
}
export const newAgent = z.object(created).meta({ id: 'NewAgent' })
const published = z.boolean().describe('Whether runs of it may begin and go on.')
export const agent = z.object({ ...created, published, created_at: moment, updated_at: moment }).meta({ id: 'Agent' })
export const listedAgent = z
  .object({
    ...created,
    published,
    created_at: moment,
    updated_at: moment,
    session_count: z.int(),
    total_runs: z.int(),
    last_run_at: moment.nullable(),
  })
  .meta({ id: 'ListedAgent' })

const assignment = {
  id,
  tool_type: z.enum(['builtin', 'custom']),
  tool_name: z.string(),
  tool_id: id.nullable(),
  config_override: object,
  permissions: object.describe('Who may call it; {}: everybody.'),
}
export const toolAssignment = z.object(assignment).meta({ id: 'ToolAssignment' })
export const newToolAssignment = z.object({ ...assignment, agent_id: id }).meta({ id: 'NewToolAssignment' })

export const knowledgeBaseLink = z
  .object({ id, knowledge_base_id: id, config: object })
  .meta({ id: 'KnowledgeBaseLink' })
export const newKnowledgeBaseLink = z
  .object({ id, agent_id: id, knowledge_base_id: id, config: object })
  .meta({ id: 'NewKnowledgeBaseLink' })

export const mcpServer = z
  .object({
    id,
    agent_id: id,
    name: z.string(),
    transport: z.string(),
    url: z.string(),
    headers: masked,
    config: object,
    enabled: z.boolean(),
    permissions: object.describe('Who may call its tools; {}: everybody.'),
    tool_count: z.int().nullable().describe('Tools an admin has accepted; null: none have been listed yet.'),
    pinned_at: moment.nullable(),
    created_at: moment,
    updated_at: moment,
  })
  .meta({ id: 'McpServer' })
export const mcpTool = z
  .object({
    name: z.string(),
    description: z.string(),
    input_schema: object,
    read_only: z.boolean(),
    accepted: z.boolean().describe('Whether this very definition has been accepted.'),
  })
  .meta({ id: 'McpTool' })

export const hook = z
  .object({
    id,
    agent_id: id,
    event: z.string(),
    matcher: z.string().nullable(),
    type: z.enum(['http', 'rule', 'approval']),
    config: object,
    enabled: z.boolean(),
    position: z.int(),
    created_at: moment,
  })
  .meta({ id: 'Hook' })

export const approval = z
  .object({
    id,
    agent_id: id.nullable(),
    user_id: id.nullable().describe('The person the run acts for; null: the tenant’s backend.'),
    call_id: z.string(),
    tool_name: z.string(),
    tool_input: object,
    input_hash: z.string().describe('SHA-256 of tool and arguments, to be sent back with the decision.'),
    message: z.string().nullable(),
    status: z.enum(['pending', 'approved', 'denied', 'expired']),
    decider_role: z.string().nullable(),
    decider_group_id: id.nullable(),
    four_eyes: z.boolean(),
    quorum: z.int(),
    decided_by: id.nullable(),
    reason: z.string().nullable(),
    expires_at: moment,
    created_at: moment,
    decided_at: moment.nullable(),
  })
  .meta({ id: 'Approval' })
export const decision = z
  .object({
    status: z.enum(['resumed', 'waiting']).describe('waiting: more people have to approve.'),
    approval_id: id,
    approvals: z.int(),
    quorum: z.int(),
  })
  .meta({ id: 'Decision' })

export const listedSession = z
  .object({
    session_id: z.string(),
    run_count: z.int(),
    last_activity_at: moment,
    created_at: moment,
    first_message: z.string().nullable(),
  })
  .meta({ id: 'ListedSession' })
export const session = z
  .object({
    id,
    session_id: z.string(),
    agent_id: id.nullable(),
    user_id: id.nullable(),
    session_data: object,
    metadata: object,
    created_at: moment,
    updated_at: moment,
  })
  .meta({ id: 'Session' })
export const message = z
  .looseObject({
    role: z.enum(['user', 'assistant']),
    content: z.string(),
    run_id: z.string(),
    timestamp: moment,
    retrieved_context: z.array(z.unknown()).optional(),
    citations: z.array(z.unknown()).optional(),
    reasoning: z.string().optional(),
    reasoning_requested: z.boolean().optional(),
    reasoning_duration_ms: z.int().optional().describe('From the first piece of reasoning to the text after it.'),
  })
  .meta({ id: 'Message' })

export const usage = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    reasoning_tokens: z.int(),
    cached_tokens: z.int(),
  })
  .meta({ id: 'Usage' })
export const run = z
  .looseObject({
    id,
    run_id: z.string(),
    session_id: id,
    parent_orchestration_run_id: z.null(),
    parent_workflow_execution_id: z.null(),
    status: z.string(),
    input_messages: z.array(object),
    output_messages: z.array(object),
    content: z.string().nullable(),
    usage,
    retrieved_context: z.array(z.unknown()).optional(),
    error: z.string().nullable(),
    started_at: moment.nullable(),
    completed_at: moment.nullable(),
    steps: z.array(z.unknown()),
    events: z.array(z.unknown()),
    tool_calls: z.array(z.unknown()),
    reasoning_steps: z.array(z.unknown()),
    created_at: moment,
  })
  .meta({ id: 'Run' })
export const runAnswer = z
  .looseObject({
    run_id: z.string(),
    session_id: z.string(),
    context_handler_id: id.nullable(),
    content: z.string(),
    error: z.string().nullable(),
    usage,
    retrieved_items: z.int(),
    status: z.enum(['completed', 'failed', 'cancelled']),
    is_new_session: z.boolean(),
  })
  .meta({ id: 'RunAnswer' })
export const acceptedRun = z
  .looseObject({ run_id: z.string(), session_id: z.string(), status: z.enum(['pending', 'running']) })
  .meta({ id: 'AcceptedRun' })
export const runStanding = z.looseObject({ run_id: z.string(), status: z.string() }).meta({ id: 'RunStanding' })

const toolFields = {
  id: id.nullable().describe('Null for built-in tools.'),
  name: z.string(),
  description: z.string(),
  type: z.string(),
  input_schema: object,
  config: z
    .looseObject({ headers: masked.optional() })
    .describe('For admins and the tenant’s backend; {} for everybody else, and for built-in tools.'),
}
export const tool = z.object(toolFields).meta({ id: 'Tool' })
export const listedTool = z.object({ ...toolFields, created_at: moment.nullable() }).meta({ id: 'ListedTool' })

const textFile = z.object({ storage_path: z.string().nullable(), format: z.string() })
const derivatives = z
  .looseObject({
    markdown: z.array(textFile),
    text: z.array(textFile),
    page_text: z.array(textFile.extend({ page: z.int() })),
    image: z.array(
      z.object({
        storage_path: z.string(),
        page: z.int(),
        format: z.string(),
        metadata: z.object({ width: z.int(), height: z.int(), dpi: z.number() }),
      }),
    ),
  })
  .partial()
  .describe('{} before extraction. The texts are no objects of their own: their storage_path is null.')

export const source = z
  .looseObject({
    id,
    name: z.string(),
    file_type: z.string(),
    storage_path: z.string(),
    extraction_status: z.string(),
    derivatives,
    metadata: object,
    auto_metadata: object,
    error_message: z.string().nullable(),
    error_code: z.string().nullable(),
    celery_task_id: z.string().nullable(),
    priority: z.enum(PRIORITIES),
    created_at: moment,
    updated_at: moment,
  })
  .meta({ id: 'Source' })
export const newSource = z
  .object({
    id,
    name: z.string(),
    file_type: z.string(),
    storage_path: z.string(),
    extraction_status: z.string(),
    task_id: z.string().nullable(),
  })
  .meta({ id: 'NewSource' })

const enrichmentStatus = z.enum(['idle', 'enriching', 'completed', 'completed_with_errors', 'failed'])
const enrichmentField = z.looseObject({
  name: z.string(),
  description: z.string(),
  type: z.enum(['text', 'boolean', 'number', 'enum']),
  enum_values: z.array(z.string()).optional(),
})
export const enrichmentConfig = z
  .looseObject({
    id,
    fields: z.array(enrichmentField),
    llm_model: z.string().nullable(),
    max_tokens: z.int(),
    use_multimodal: z.boolean(),
    status: enrichmentStatus,
    enriched_count: z.int(),
    failed_count: z.int(),
    total_count: z.int(),
    error_message: z.string().nullable(),
    celery_task_id: z.string().nullable(),
    created_at: moment,
    updated_at: moment,
  })
  .meta({ id: 'EnrichmentConfig' })
export const enrichmentResults = z
  .looseObject({
    results: z.record(z.string(), object),
    fields: z.array(enrichmentField),
    item_errors: z.record(z.string(), z.string()),
    item_notes: z.record(z.string(), z.string()),
    status: enrichmentStatus,
  })
  .meta({ id: 'EnrichmentResults' })

/** A passage that the graph of its knowledge base does not hold. */
export const graphError = z
  .object({
    chunk_id: id,
    chunk_index: z.int(),
    source_id: id,
    source_name: z.string().nullable(),
    indexed_source_id: id,
    code: z.string().describe('What docs/strategies.md lists, such as "refused" or "invalid_answer".'),
    message: z.string(),
  })
  .meta({ id: 'GraphError' })

const knowledgeBaseFields = {
  id,
  name: z.string(),
  description: z.string().nullable(),
  indexing_config: object,
  retrieval_config: object,
}
export const newKnowledgeBase = z.object(knowledgeBaseFields).meta({ id: 'NewKnowledgeBase' })
const contents = {
  created_at: moment,
  updated_at: moment,
  source_counts: z.record(z.string(), z.int()),
  chunk_count: z.int(),
  enrichment_status: enrichmentStatus,
  enrichment_progress: z.object({ enriched_count: z.int(), total_count: z.int() }).nullable(),
}
export const listedKnowledgeBase = z
  .looseObject({ ...knowledgeBaseFields, ...contents })
  .meta({ id: 'ListedKnowledgeBase' })
export const knowledgeBase = z
  .looseObject({
    ...knowledgeBaseFields,
    ...contents,
    drift: z
      .object({ count: z.int(), indexed_source_ids: z.array(id) })
      .nullable()
      .describe('Sources that were indexed with other settings than it has now; null: none. At most 500 ids.'),
    indexed_sources: z.array(z.object({ id, source_id: id, index_status: z.string() })),
  })
  .meta({ id: 'KnowledgeBase' })
export const indexedSource = z
  .looseObject({
    id,
    source_id: id,
    index_status: z.string(),
    indexed_at: moment.nullable(),
    stats: object,
    error_message: z.string().nullable(),
    source_name: z.string(),
    file_type: z.string(),
    source_created_at: moment,
  })
  .meta({ id: 'IndexedSource' })
export const item = z
  .looseObject({
    id,
    source_id: id,
    text: z.string(),
    meta: object,
    chunk_index: z.int(),
    start_char: z.int(),
    end_char: z.int(),
    tokens: z.int().nullable(),
  })
  .meta({ id: 'Item' })
export const searchResult = z
  .looseObject({ chunk_id: id, text: z.string(), score: z.number(), source_id: id, meta: object })
  .meta({ id: 'SearchResult' })

export const contextHandler = z
  .looseObject({
    id,
    query: z.string(),
    status: z.string(),
    knowledge_base_configs: z.array(object),
    max_context_tokens: z.int(),
    formatted_context: z.string(),
    retrieved_context: z.array(object),
    metadata: object,
    errors: z.array(object),
  })
  .meta({ id: 'ContextHandler' })
