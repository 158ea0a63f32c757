import { onNative, PERSON, TENANT, type World } from './world.ts'

/** What filling needs of a world: a superuser's statements. */
type Owner = Pick<World, 'run'>

/** Chunks that somebody else inserts in one go: as many as the issue asks for, or a tenth on PGlite. */
export const MANY = onNative ? 10_000 : 1_000

/** Chunks of the observer: enough that a graph, once it is there, is used. */
export const OWN = 2_500

export const MODEL = 'isolation-64'

export type Filling = {
  /** Names the rows: the same label makes the same ones, and clear() removes them. */
  label: string
  tenant: 'a' | 'b'
  count: number
  topics: number[]
  /** Whether the chunks repeat the questions about the topics, at their points. */
  echo?: boolean
  owner?: string
  visibility?: 'tenant' | 'private' | 'granted'
  allowed?: string[]
  model?: string
  knowledgeBase?: string
}

/** Numbers from `from` on. */
export const range = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => from + index)

export async function defaultKnowledgeBase(world: Owner, tenant: 'a' | 'b'): Promise<string> {
  const [base] = await world.run<{ id: string }>(
    'select id from ai.knowledge_bases where tenant_id = $1 and is_default',
    [TENANT[tenant]],
  )
  if (!base) throw new Error('A tenant without a knowledge base.')
  return base.id
}

/** Inserts chunks and their vectors through the tables and functions that the indexer uses; gives their number. */
export async function fill(world: Owner, filling: Filling): Promise<number> {
  const { label, tenant, count, topics, echo = false, visibility = 'tenant', allowed = [], model = MODEL } = filling
  const owner = filling.owner ?? (tenant === 'a' ? PERSON.member : PERSON.bMember)
  const base = filling.knowledgeBase ?? (await defaultKnowledgeBase(world, tenant))
  const [row] = await world.run<{ stored: number }>(
    'select isolation.fill($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as stored',
    [label, TENANT[tenant], base, owner, visibility, allowed, count, topics, echo, model],
  )
  return row?.stored ?? 0
}

export const clear = (world: Owner, label: string): Promise<unknown> => world.run('select isolation.clear($1)', [label])

/** Promotes the vectors of a tenant, as the worker does with large sets. */
export async function buildGraph(world: Owner, tenant: 'a' | 'b'): Promise<void> {
  const [row] = await world.run<{ built: boolean }>('select isolation.build_graph($1) as built', [TENANT[tenant]])
  if (!row?.built) throw new Error('The graph was not built.')
}

/** Back to exact scans; the table goes at once. */
export async function dropGraph(world: Owner, tenant: 'a' | 'b'): Promise<void> {
  await world.run('select private.retire_vector_graph(id) from private.vector_sets where tenant_id = $1', [
    TENANT[tenant],
  ])
  await world.run(`select private.drop_vector_graphs('0')`)
}
