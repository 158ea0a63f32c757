import type { Corpus } from './corpus.ts'
import { at } from './layout.ts'
import { chunkId } from './load-baselines.ts'
import { MODEL } from './load-product.ts'
import type { Query } from './queries.ts'
import { numberOf } from './random.ts'
import { type CallerSession, memberClaims, type Statement, tenantClaims, type Times } from './sessions.ts'
import { vectorText } from './vectors.ts'

/** ours: ai.search; a: the guide's query; b: hybrid_search of the Supabase documentation. */
export type Variant = 'ours' | 'a' | 'b'
export const RESULT_ROWS = 10
/** As many as each leg of a fusion takes. */
export const VECTOR_ROWS = 60

/** What a search returned, as rows of the corpus, best first; chunks that arrived later have numbers above those. */
export type Found = Times & { found: number[] }

export async function askOurs(session: CallerSession, corpus: Corpus, query: Query): Promise<Found> {
  return asked<{ id: string }>(session, memberClaims(at(corpus.tenants, query.tenant)), oursStatement(query), (row) =>
    numberOf(row.id),
  )
}

/** The copy of the search without row-level security; see unguarded-search.ts. */
export async function askUnguarded(session: CallerSession, corpus: Corpus, query: Query): Promise<Found> {
  const statement = oursStatement(query)
  const copy = { ...statement, name: 'unguarded', text: statement.text.replace('ai.search', 'bench.search') }
  return asked<{ id: string }>(session, memberClaims(at(corpus.tenants, query.tenant)), copy, (row) => numberOf(row.id))
}

/** What every search costs, that is told what to find; see measure-floor.ts. */
export async function askFloor(session: CallerSession, corpus: Corpus, query: Query, rows: number[]): Promise<Found> {
  const statement = {
    name: 'floor',
    text: `select chunk_id as id, source_id, text, score from bench.floor($1, $2::extensions.vector, $3, $4::uuid[])`,
    values: [query.text, vectorText(query.vector), MODEL, rows.map(chunkId)],
  }
  return asked<{ id: string }>(session, memberClaims(at(corpus.tenants, query.tenant)), statement, (row) =>
    numberOf(row.id),
  )
}

/** The vector part alone. */
export async function askVectors(session: CallerSession, corpus: Corpus, query: Query): Promise<Found> {
  const statement = {
    name: 'ours, vectors',
    text: `select chunk_id as id from ai.search(
      query => $1, query_embedding => $2::extensions.vector, embedding_model => $3, match_count => ${VECTOR_ROWS}, method => 'vector_search')`,
    values: [query.text, vectorText(query.vector), MODEL],
  }
  return asked<{ id: string }>(session, memberClaims(at(corpus.tenants, query.tenant)), statement, (row) =>
    numberOf(row.id),
  )
}

/** The guide's query: a weighted sum of cosine and trigram similarity over every row of the tenant. */
export async function askGuide(session: CallerSession, corpus: Corpus, query: Query): Promise<Found> {
  const tenant = at(corpus.tenants, query.tenant)
  const statement = {
    name: 'a',
    text: `select id, body, (1 - (embedding <=> $1::vector)) * 0.7 + similarity(body, $2) * 0.3 as score
      from memories where tenant_id = $3 order by score desc limit 5`,
    values: [vectorText(query.vector), query.text, tenant.id],
  }
  return asked<{ id: string }>(session, tenantClaims(tenant), statement, (row) => Number(row.id))
}

export async function askDocs(session: CallerSession, corpus: Corpus, query: Query): Promise<Found> {
  const tenant = at(corpus.tenants, query.tenant)
  return asked<{ id: string }>(session, tenantClaims(tenant), docsStatement(query), (row) => Number(row.id))
}

export const ASK = { ours: askOurs, a: askGuide, b: askDocs }

export const oursStatement = (query: Query): Statement => ({
  name: 'ours',
  text: `select chunk_id as id, source_id, text, score from ai.search(
    query => $1, query_embedding => $2::extensions.vector, embedding_model => $3, match_count => ${RESULT_ROWS})`,
  values: [query.text, vectorText(query.vector), MODEL],
})

export const docsStatement = (query: Query): Statement => ({
  name: 'b',
  text: `select id, source_id, content from hybrid_search($1, $2::vector, ${RESULT_ROWS})`,
  values: [query.text, vectorText(query.vector)],
})

async function asked<T extends Record<string, unknown>>(
  session: CallerSession,
  claims: string,
  statement: Statement,
  rowOf: (row: T) => number,
): Promise<Found> {
  const { rows, wall, cpu } = await session.ask<T>(claims, statement)
  return { found: rows.map(rowOf), wall, cpu }
}

/** Whether a row is of another tenant than the query's. */
export const isForeign = (corpus: Corpus, query: Query, row: number): boolean =>
  row < corpus.rows && corpus.sourceOf(row).tenant !== query.tenant
