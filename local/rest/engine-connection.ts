import { AsyncLocalStorage } from 'node:async_hooks'
import { PostgresConnection } from '@supabase/lite/postgres'
import { CompiledQuery, type Kysely } from 'kysely'
import { callerSettings } from '../database/caller.ts'
import type { DbCaller, Session, SessionDatabase } from '../database/database.ts'
import { databaseErrorResponse, isDatabaseError } from './errors.ts'
import { EngineDriver, kyselyOver } from './engine-driver.ts'

/** What a request runs as, and whether its transaction may write. */
export type RequestContext = { caller: DbCaller; readOnly: boolean }

type Introspection = Awaited<ReturnType<PostgresConnection['introspect']>>
/** What databases of one snapshot have been found to hold, as JSON, by what their catalogues are told apart by. */
export type KnownIntrospections = Map<string, string>

/** The first is that of the snapshot, with which most begin. */
const MOST_KNOWN = 4

/** What a schema is written in. */
const CATALOGUES = [
  'class', 'attribute', 'attrdef', 'proc', 'type', 'constraint', 'index', 'namespace', 'description', 'enum', 'inherits', 'rewrite',
] // prettier-ignore

/** Tells databases apart that began as one: which rows of it are there still, and what has been written since. */
const CATALOGUE_SQL = `
  with began as (select split_part(next_xid, ':', 2)::bigint as xid from pg_catalog.pg_control_checkpoint())
  select concat_ws(',', (select xid from began), ${CATALOGUES.map(
    (name) => `(
      select concat_ws(' ', sum(hashtid(rows.ctid)), md5(string_agg(rows::text, ',' order by rows.ctid) filter (where rows.xmin::text::bigint >= xid)))
      from pg_catalog.pg_${name} as rows, began
    )`,
  ).join(', ')}) as key`

type ContextOptions = Parameters<PostgresConnection['withContext']>[2]

/** Error codes whose text the engine improves with what it knows of the request (it names the table of a column). */
const LEFT_TO_ENGINE = new Set(['42703', '42883', 'PGRST'])

/**
 * The engine's view of the database, without what makes it unfit as it comes: each request runs in one transaction on one
 * session that nobody else uses meanwhile, with role, claims and headers local to it, and fails with PostgREST's answers.
 */
export class EngineConnection extends PostgresConnection {
  /** A statement that each request's transaction begins with, as the caller and with their claims and headers. */
  preRequest: string | undefined
  #database: SessionDatabase
  #driver: EngineDriver
  #request = new AsyncLocalStorage<RequestContext>()
  #introspecting: Promise<Introspection> | undefined
  readonly #schemas: ReadonlySet<string> | undefined
  readonly #known: KnownIntrospections | undefined

  /**
   * @param schemas that requests may name; the engine goes through all it knows of at each request. Absent: all.
   * @param known introspections of databases that began as the same one: an introspection takes half a second
   */
  constructor(database: SessionDatabase, schemas?: readonly string[], known?: KnownIntrospections) {
    // The base class makes a client that connects at its first query, which never comes: queries go through our driver.
    super({ url: 'postgres://127.0.0.1:1/unused' })
    this.#database = database
    this.#schemas = schemas && new Set(schemas)
    this.#known = known
    this.#driver = new EngineDriver(database)
    this.kysely = kyselyOver(this.#driver)
    // 'unknown' would make the engine grant all rights on all tables to anon at the first request.
    ;(this as unknown as { rlsState: string }).rlsState = 'active'
  }

  /** Runs the engine's handling of a request with the context its transaction is to have. */
  forRequest<T>(context: RequestContext, fn: () => T): T {
    return this.#request.run(context, fn)
  }

  override async introspect(options?: { useCache?: boolean }): Promise<Introspection> {
    // After a schema change many requests would read the whole catalogue at once.
    if (options?.useCache && this.introspection) return this.introspection
    if (!options?.useCache) return this.#narrowed(await super.introspect(options))
    this.#introspecting ??= this.#readCatalogue(options)
      .then((found) => (this.introspection = this.#narrowed(found)))
      .finally(() => (this.#introspecting = undefined))
    return this.#introspecting
  }

  async #readCatalogue(options: { useCache?: boolean }): Promise<Introspection> {
    const known = this.#known
    if (!known) return super.introspect(options)
    const { rows } = await this.kysely.executeQuery<{ key: string }>(CompiledQuery.raw(CATALOGUE_SQL))
    const { key } = rows[0]!
    const kept = known.get(key)
    if (kept !== undefined) return JSON.parse(kept) as Introspection
    const found = await super.introspect(options)
    // Where it fails it finds no tables.
    if (found.tables.length > 0 && known.size < MOST_KNOWN) known.set(key, JSON.stringify(found))
    return found
  }

  #narrowed(found: Introspection): Introspection {
    const schemas = this.#schemas
    if (!schemas) return found
    const within = <T extends { schema?: string | null | undefined }>(all: T[]) =>
      all.filter(({ schema }) => schemas.has(schema ?? 'public'))
    return {
      ...found,
      columns: within(found.columns),
      views: within(found.views),
      functions: within(found.functions ?? []),
    }
  }

  override async withContext<T>(
    _vars: unknown,
    fn: (db: Kysely<unknown>) => Promise<T>,
    options?: ContextOptions,
  ): Promise<T> {
    const context = this.#request.getStore()
    if (!context) throw new Error('The engine asked for a request context outside of a request.')
    const { caller, readOnly } = context
    const { preRequest } = this
    const session = await this.#database.lease()
    try {
      const settings = callerSettings(caller, this.#database.roleSettings(caller.role))
      await this.#inOrder([
        () => session.exec(readOnly ? 'begin read only' : 'begin'),
        () => session.run(settings.text, settings.params, true),
        ...(preRequest ? [() => session.run(preRequest, [], true)] : []),
      ])
      const result = await this.#driver.joining(session, () => fn(this.kysely))
      const failed =
        result instanceof Response && result.status >= 400 && !(options?.rpc && (await setsStatus(session)))
      await session.exec(failed ? 'rollback' : 'commit')
      return result
    } catch (error) {
      await session.exec('rollback')
      if (!isDatabaseError(error) || LEFT_TO_ENGINE.has(error.code)) throw error
      return databaseErrorResponse(error, caller.role === 'anon') as T
    } finally {
      await session.release()
    }
  }

  /** A server is sent all at once: it answers in order, and after a statement that fails refuses the rest. */
  async #inOrder(statements: (() => Promise<unknown>)[]): Promise<void> {
    if (this.#database.kind === 'native') await Promise.all(statements.map((statement) => statement()))
    else for (const statement of statements) await statement()
  }

  override async close(): Promise<void> {
    await this.clearSchemaCache()
  }
}

/** A function may set the status of its answer without meaning failure: then its work stays. */
const setsStatus = async (session: Session): Promise<boolean> => {
  const { rows } = await session.run(`select coalesce(current_setting('response.status', true), '') <> '' as set`)
  return rows[0]?.['set'] === true
}
