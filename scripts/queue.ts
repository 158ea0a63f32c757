import process from 'node:process'
import { parseArgs } from 'node:util'
import { formatQueues, readQueues, redrive, withDatabase } from './support/queue-report.ts'

// `npm run queue` shows the queues; `npm run queue -- --json` as JSON; `npm run queue -- redrive <queue>` puts what that queue
// has given up back into it. On the database of DATABASE_URL or SUPABASE_DB_URL, by default that of the local stack.

const USAGE = 'Usage: npm run queue [-- --json | -- redrive <queue>]'
const LOCAL = `postgresql://postgres:postgres@127.0.0.1:${process.env['BULKHEAD_DB_PORT'] ?? 54322}/postgres`

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

let parsed: ReturnType<typeof parse>
function parse() {
  return parseArgs({ options: { json: { type: 'boolean', default: false } }, allowPositionals: true })
}
try {
  parsed = parse()
} catch {
  fail(USAGE)
}
const { values, positionals } = parsed
const [command, queue] = positionals
const isValid = positionals.length === 0 || (command === 'redrive' && positionals.length === 2)
if (!isValid) fail(USAGE)

const databaseUrl = process.env['DATABASE_URL'] ?? process.env['SUPABASE_DB_URL'] ?? LOCAL
try {
  await withDatabase(databaseUrl, async (client) => {
    if (queue !== undefined) {
      const count = await redrive(client, queue)
      console.log(values.json ? JSON.stringify({ queue, redriven: count }) : `${count} put back into ${queue}`)
      return
    }
    const report = await readQueues(client)
    console.log(values.json ? JSON.stringify(report, null, 2) : formatQueues(report).join('\n'))
  })
} catch (error) {
  const { code, message } = error as Error & { code?: string }
  if (code === 'ECONNREFUSED') fail('No database answers. Start the local stack with npm start, or set DATABASE_URL.')
  fail(message)
}
