import { readByIds } from '../batches.ts'
import type { Db, Deps } from '../context.ts'
import { AppError, describeError, unwrap } from '../errors.ts'
import { createHooks } from '../hooks/engine.ts'
import { permissionsOf } from '../hooks/permissions.ts'
import { runLost } from '../runs.ts'
import type { ChatMessage } from '../providers/index.ts'
import type { WithSearch } from '../search.ts'
import { RETRIEVAL_METHODS } from '../search/hits.ts'
import type { LinkedKnowledgeBase } from '../tools/knowledge-search.ts'
import { buildTools } from '../tools/registry.ts'
import type { WithTools } from '../tools/registry.ts'
import type { Equipment, EquipmentParts } from './outcome.ts'
import type { RuntimeKnowledgeBase } from './run-request.ts'
import type { WithRuns } from './settings.ts'

/**
 * The knowledge bases a request adds to the search of its run.
 * @throws AppError `invalid_request` for one that the caller cannot see.
 */
export async function runtimeKnowledgeBases(
  db: Db,
  wanted: readonly RuntimeKnowledgeBase[],
): Promise<LinkedKnowledgeBase[]> {
  if (wanted.length === 0) return []
  const rows = await linked(
    db,
    wanted.map(({ id }) => id),
  )
  return wanted.map((choice) => {
    const row = rows.get(choice.id)
    // A field of the request, not what its path names: clients of the agent API expect 400.
    if (row === undefined) throw new AppError('invalid_request', 'runtime_knowledge_bases: Knowledge base not found')
    return {
      ...row,
      ...(choice.top_k == null ? {} : { topK: choice.top_k }),
      ...(choice.retrieval_method == null ? {} : { method: choice.retrieval_method }),
      ...(choice.similarity_threshold == null ? {} : { similarityThreshold: choice.similarity_threshold }),
      ...(choice.filter_metadata == null ? {} : { filterMetadata: choice.filter_metadata }),
      ...(choice.source_ids == null ? {} : { sourceIds: choice.source_ids }),
      ...(choice.max_context_tokens == null ? {} : { maxContextTokens: choice.max_context_tokens }),
    }
  })
}

/**
 * Those of the named knowledge bases that the holder of the token can see, by id.
 * @throws AppError what the database refuses: one that cannot be read is not one that is hidden.
 */
async function linked(db: Db, ids: readonly string[]): Promise<Map<string, LinkedKnowledgeBase>> {
  const rows = await readByIds(ids, async (batch) =>
    unwrap(
      await db
        .schema('ai')
        .from('knowledge_bases')
        .select('id,name,description,indexing_config,retrieval_config')
        .in('id', batch)
        .returns<LinkedKnowledgeBase[]>(),
    ),
  )
  return new Map(rows.map((row) => [row.id, row]))
}

const count = (value: unknown) =>
  typeof value === 'number' && value >= 1 ? Math.min(Math.floor(value), 100) : undefined

/**
 * What the agent of a run has been given, ready for use: its tools, those of its servers, its hooks.
 * @throws AppError when the lease is lost or the configuration cannot be read. A tool that cannot be offered costs a warning.
 */
export async function equip(
  deps: Deps & WithSearch & WithTools & WithRuns,
  parts: EquipmentParts & {
    withTools: boolean
    citations: boolean
    /** Whether knowledge_search is offered. */
    searches: boolean
    runtimeBases: readonly LinkedKnowledgeBase[]
    /** What was said so far, with the question of this run. */
    history: readonly ChatMessage[]
  },
): Promise<Equipment> {
  const { run, principal, emit, signal } = parts
  const configuration = await deps.ledger.runConfiguration(run.id, run.lease_token)
  if (configuration === null) throw runLost()
  const hooks = createHooks({
    hooks: configuration.hooks,
    emit,
    log: deps.log,
    postJson: deps.tools.postJson,
    ledger: deps.ledger,
    run,
    signal,
    permissions: await permissionsOf(configuration),
  })
  if (!parts.withTools) return { tools: [], hooks, warnings: [], close: () => Promise.resolve() }

  const warnings: string[] = []
  const bases: LinkedKnowledgeBase[] = [...parts.runtimeBases]
  try {
    // As the person sees them: one that is linked but hidden from them is not searched, nor named.
    const rows = await linked(
      await principal.db(),
      configuration.knowledge_bases.map(({ id }) => id),
    )
    for (const { id, config } of configuration.knowledge_bases) {
      const row = rows.get(id)
      if (row === undefined || bases.some((base) => base.id === id)) continue
      const topK = count(config['top_k'])
      const method = RETRIEVAL_METHODS.find((known) => known === config['retrieval_method'])
      const maxContextTokens = config['max_context_tokens']
      bases.push({
        ...row,
        ...(topK === undefined ? {} : { topK }),
        ...(method === undefined ? {} : { method }),
        ...(typeof maxContextTokens === 'number' && maxContextTokens >= 1 ? { maxContextTokens } : {}),
      })
    }
  } catch (error) {
    deps.log.error('knowledge_bases_not_read', { run_id: run.run_id, error: describeError(error) })
    warnings.push('The knowledge bases of this agent could not be read.')
  }
  const built = await buildTools(deps, configuration, {
    principal,
    signal,
    bases: parts.searches ? bases : [],
    searchDefaults: deps.runs.defaults,
    citations: parts.citations,
    nextKey: parts.nextKey,
    history: parts.history,
  })
  return { ...built, hooks, warnings: [...warnings, ...built.warnings] }
}
