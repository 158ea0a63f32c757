import { parse, protocol, type PGlite } from '@electric-sql/pglite'
import type { StatementResult } from './database.ts'

// The engine's own `query` crosses over to Postgres seven times per statement and copies all parsers of types for its
// result; its `exec` twice. Here it is two times and once, which is less than half the work of a short statement.

const { serialize } = protocol

/** Messages to Postgres, which answers those that came together all at once. */
type Messages = Parameters<PGlite['execProtocolStream']>[0][]
const send = (engine: PGlite, messages: Messages) =>
  engine.execProtocolStream(messages.length === 1 ? messages[0]! : Buffer.concat(messages), { syncToFs: false })

type Described = { types: number[]; messages: Awaited<ReturnType<typeof send>> }

/** Statements that Postgres keeps for the session, parsed and planned, by their text. */
export class KeptStatements {
  readonly #byText = new Map<string, Described & { name: string }>()
  #lastNumber = 0

  get(text: string): (Described & { name: string }) | undefined {
    return this.#byText.get(text)
  }

  /** A name for a statement that is to be kept; undefined when there are enough. */
  newName(): string | undefined {
    return this.#byText.size < MOST_KEPT ? `kept_${++this.#lastNumber}` : undefined
  }

  /** Forgets one that failed: Postgres may have dropped it, or it may give something else since the schema has changed. */
  drop(text: string): void {
    this.#byText.delete(text)
  }

  add(text: string, name: string, described: Described): void {
    this.#byText.set(text, { name, ...described })
  }

  /** To be called when the schema has changed, and a function may return something else, or when Postgres has discarded them. */
  async forget(engine: PGlite): Promise<void> {
    const names = [...this.#byText.values()].map(({ name }) => name)
    this.#byText.clear()
    for (const name of names) await runScript(engine, `deallocate ${name}`).catch(() => {})
  }
}

/** Errors of a kept statement that Postgres has dropped, or that would give something else since the schema has changed. */
const OF_KEPT = ['26000', '0A000']

/** Filters of functions can be written in any number of ways. */
const MOST_KEPT = 200

const describe = async (engine: PGlite, text: string, name = ''): Promise<Described> => {
  const messages = await send(engine, [serialize.parse({ text, name }), serialize.describe({ type: 'S', name })])
  return { messages, types: parse.parseDescribeStatementResults(messages) }
}

/**
 * Runs one statement with parameters, as `engine.query` does; the caller has the engine for itself.
 * @param kept keeps the statement, which comes again and again: then it is one time that it crosses over
 * @throws the engine's DatabaseError
 */
export async function runStatement(
  engine: PGlite,
  text: string,
  params: readonly unknown[],
  kept?: KeptStatements,
): Promise<StatementResult> {
  if (engine.closed) throw new Error('The database is closed.')
  let result: StatementResult
  let isSynced = false
  try {
    const known = kept?.get(text)
    const name = known ? known.name : (kept?.newName() ?? '')
    const described = known ?? (await describe(engine, text, name))
    if (!known && name) kept?.add(text, name, described)
    const values = params.map((value, index) => {
      if (value === null || value === undefined) return null
      const serializer = engine.serializers[described.types[index] ?? 0]
      return serializer ? serializer(value) : String(value)
    })
    isSynced = true
    const bind = serialize.bind({ statement: name, values })
    const answered = await send(engine, [bind, serialize.execute({}), serialize.sync()])
    const messages = [...described.messages, ...answered]
    const [{ rows, affectedRows } = { rows: [] }] = parse.parseResults(messages, parsersFor(engine, messages))
    result = { rows: rows as StatementResult['rows'], affected: affectedRows }
  } catch (error) {
    if (OF_KEPT.includes(String((error as { code?: unknown }).code))) kept?.drop(text)
    throw error
  } finally {
    // After an error Postgres ignores everything until it reads this.
    if (!isSynced) await send(engine, [serialize.sync()])
  }
  if (!engine.isInTransaction()) await engine.syncToFs()
  return result
}

/** Runs statements without parameters, as `engine.exec` does, and leaves out what they give. */
export async function runScript(engine: PGlite, sql: string): Promise<void> {
  if (engine.closed) throw new Error('The database is closed.')
  await send(engine, [serialize.query(sql)])
  if (!engine.isInTransaction()) await engine.syncToFs()
}

type Parsers = PGlite['parsers']

/** The parsers of the columns alone: the engine makes a copy of what it is given. */
function parsersFor(engine: PGlite, messages: Awaited<ReturnType<typeof send>>): Parsers {
  const parsers: Parsers = {}
  for (const message of messages) {
    if (!('fields' in message) || message.name !== 'rowDescription') continue
    for (const { dataTypeID } of message.fields as { dataTypeID: number }[]) {
      const parser = engine.parsers[dataTypeID]
      if (parser) parsers[dataTypeID] = parser
    }
  }
  return parsers
}
