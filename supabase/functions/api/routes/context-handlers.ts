import { Hono } from 'hono'
import { z } from 'zod'
import { actsOn, narrowTo } from '../../_shared/context.ts'
import { AppError, describeError, fromPostgrest, missing, toAppError, unwrap } from '../../_shared/errors.ts'
import { pageOf, parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { ignoredInChoices, knowledgeBaseChoice } from '../../_shared/execution/run-request.ts'
import { searchQuery } from '../../_shared/search/options.ts'
import { unwrapPage } from '../lists.ts'
import type { ApiEnv } from '../env.ts'
import { retrieveFrom } from '../retrieval.ts'
import type { Retrieval } from '../retrieval.ts'

/** Tokens that a stored context may have. */
const MAX_CONTEXT_TOKENS = 100_000

/** Body of `POST /api/context-handlers`. */
export const contextHandlerRequest = z.object({
  query: searchQuery,
  knowledge_bases: z
    .array(knowledgeBaseChoice, 'knowledge_bases is required')
    .min(1, 'knowledge_bases is required')
    .max(20),
  max_context_tokens: z
    .number()
    .int()
    .min(50)
    .max(MAX_CONTEXT_TOKENS)
    .nullish()
    .describe('DEFAULT_MAX_CONTEXT_TOKENS of the deployment, 32000, when absent.'),
})

const COLUMNS =
  'id,query,status,knowledge_base_configs,max_context_tokens,formatted_context,retrieved_context,metadata,errors,created_at,completed_at'

const NOTHING: Retrieval = { items: [], text: '', metadata: {}, warnings: [] }

/** Stored retrievals: what the caller was shown for a question, to be used by runs of theirs. */
export const contextHandlers = new Hono<ApiEnv>()
  .post('/', actsOn(), async (c) => {
    const { body, warnings } = await parseLenientBody(c, contextHandlerRequest, (_body, sent) =>
      ignoredInChoices(sent['knowledge_bases']),
    )
    const choices = body.knowledge_bases.map(
      (choice) => Object.fromEntries(Object.entries(choice).filter(([, value]) => value != null)) as typeof choice,
    )
    const { rows, search } = await retrieveFrom(c.var, c.var.deps, choices)
    const [tenantId = '', ...others] = new Set(rows.map((row) => row.tenant_id))
    if (others.length > 0) {
      throw new AppError('tenant_required', 'These knowledge bases belong to several tenants.', {
        hint: 'Name those of one tenant.',
      })
    }
    const reader = narrowTo(c, tenantId)
    const maxTokens = body.max_context_tokens ?? Math.min(c.var.deps.runs.defaults.maxContextTokens, MAX_CONTEXT_TOKENS)
    let found = NOTHING
    const errors: { error: string; code: string }[] = []
    try {
      found = await search(reader, body.query, maxTokens)
    } catch (error) {
      const failure = toAppError(error)
      if (failure.status < 500) throw failure
      c.var.deps.log.error('retrieval_failed', { code: failure.code, error: describeError(error) })
      errors.push({ error: failure.message, code: failure.code })
    }
    const row = unwrap<object>(
      await reader.db
        .schema('ai')
        .from('context_handlers')
        .insert({
          tenant_id: tenantId,
          query: body.query,
          status: errors.length === 0 ? 'completed' : 'failed',
          knowledge_base_configs: choices,
          max_context_tokens: maxTokens,
          retrieved_context: found.items,
          formatted_context: found.text,
          metadata: found.metadata,
          errors,
        })
        .select(COLUMNS)
        .single<object>(),
    )
    return c.json({ ...row, ...warningsField([...warnings, ...found.warnings]) }, 201)
  })
  .get('/', actsOn(), async (c) => {
    const page = pageOf(c, 50, 100)
    const answer = await c.var.db
      .schema('ai')
      .from('context_handlers')
      .select(COLUMNS, { count: 'exact' })
      .order('created_at', { ascending: false })
      .order('id')
      .range(page.offset, page.offset + page.limit - 1)
    const { rows, total } = unwrapPage<object>(answer)
    return c.json({ context_handlers: rows, total, ...page })
  })
  .get('/:id', actsOn('context_handler'), async (c) => {
    const { data, error } = await c.var.db
      .schema('ai')
      .from('context_handlers')
      .select(COLUMNS)
      .eq('id', uuidParam(c, 'id', 'context_handler'))
      .maybeSingle<object>()
    if (error) throw fromPostgrest(error)
    if (data === null) throw missing('context_handler')
    return c.json(data)
  })
