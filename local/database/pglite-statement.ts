import { parse, protocol, type PGlite } from '@electric-sql/pglite'
import type { StatementResult } from './database.ts'

// The engine's own `query` crosses over to Postgres seven times per statement and copies all parsers of types for its
// result; its `exec` twice. Here it is two times and once, which is less than half the work of a short statement.

const { serialize } = protocol

/** Messages to Postgres, which answers those that came together all at once. */
type Messages = Parameters<PGlite['execProtocolStream']>[0][]
const send = (engine: PGlite, messages: Messages) =>
  engine.execProtocolStream(messages.length === 1 ? messages[0]! : Buffer.concat(messages), { syncToFs: false })

/**
 * Runs one statement with parameters, as `engine.query` does; the caller has the engine for itself.
 * @throws the engine's DatabaseError
 */
export async function runStatement(engine: PGlite, text: string, params: readonly unknown[]): Promise<StatementResult> {
  if (engine.closed) throw new Error('The database is closed.')
  let result: StatementResult
  let isSynced = false
  try {
    const described = await send(engine, [serialize.parse({ text }), serialize.describe({ type: 'S' })])
    const types = parse.parseDescribeStatementResults(described)
    const values = params.map((value, index) => {
      if (value === null || value === undefined) return null
      const serializer = engine.serializers[types[index] ?? 0]
      return serializer ? serializer(value) : String(value)
    })
    isSynced = true
    const answered = await send(engine, [serialize.bind({ values }), serialize.execute({}), serialize.sync()])
    const messages = [...described, ...answered]
    const [{ rows, affectedRows } = { rows: [] }] = parse.parseResults(messages, parsersFor(engine, messages))
    result = { rows: rows as StatementResult['rows'], affected: affectedRows }
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
