import pg from 'pg'

/** A row of ai.queue_health(): counts, and ages in seconds (null: there is none). */
export type QueueRow = {
  queue: string
  waiting: number
  deferred: number
  active: number
  dead: number
  tenants_waiting: number
  oldest_waiting_seconds: number | null
  oldest_active_seconds: number | null
  max_active_per_tenant: number | null
}

/** A row of ai.queue_tenants(). */
export type TenantRow = {
  tenant_id: string
  tenant_name: string
  waiting_jobs: number
  active_jobs: number
  pending_runs: number
  running_runs: number
  waiting_runs: number
  dead: number
}

/** A row of ai.sweep_health(); null: never. */
export type SweepRow = {
  name: string
  least_seconds: number
  last_began_at: Date | null
  last_ended_at: Date | null
  last_failed_at: Date | null
  last_error: string | null
}

export type QueueReport = { queues: QueueRow[]; tenants: TenantRow[]; sweeps: SweepRow[] }

const numbers = <Row extends Record<string, unknown>>(
  rows: Record<string, unknown>[],
  text: readonly string[],
): Row[] =>
  rows.map(
    (row) =>
      Object.fromEntries(
        Object.entries(row).map(([name, value]) => [
          name,
          value === null || text.includes(name) ? value : Number(value),
        ]),
      ) as Row,
  )

/** Does something with a connection to the database. */
export async function withDatabase<T>(databaseUrl: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl, application_name: 'bulkhead-queue' })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** The state of all queues. */
export async function readQueues(client: pg.Client): Promise<QueueReport> {
  const queues = await client.query('select * from ai.queue_health()')
  const tenants = await client.query('select * from ai.queue_tenants()')
  const sweeps = await client.query<SweepRow>('select * from ai.sweep_health()')
  return {
    queues: numbers<QueueRow>(queues.rows, ['queue']),
    tenants: numbers<TenantRow>(tenants.rows, ['tenant_id', 'tenant_name']),
    sweeps: sweeps.rows,
  }
}

/** Puts what a queue has given up back into it; returns how many. @throws the database's error for an unknown queue. */
export async function redrive(client: pg.Client, queue: string): Promise<number> {
  let total = 0
  for (;;) {
    const { rows } = await client.query<{ count: number }>('select ai.redrive_dead_letters($1, 1000) as count', [queue])
    const count = rows[0]?.count ?? 0
    total += count
    if (count < 1000) return total
  }
}

const age = (seconds: number | null): string => {
  if (seconds === null) return '-'
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 3600)} h`
}

/** Rows under their heads, numbers to the right. */
function table(heads: string[], rows: string[][]): string[] {
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (cells: string[]) =>
    cells
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(heads), ...rows.map(line)]
}

/** The report as lines for a person. */
export function formatQueues({ queues, tenants, sweeps }: QueueReport): string[] {
  const lines = table(
    ['queue', 'waiting', 'later', 'active', 'dead', 'tenants', 'oldest waiting', 'oldest active', 'limit per tenant'],
    queues.map((row) => [
      row.queue,
      String(row.waiting),
      String(row.deferred),
      String(row.active),
      String(row.dead),
      String(row.tenants_waiting),
      age(row.oldest_waiting_seconds),
      age(row.oldest_active_seconds),
      row.max_active_per_tenant === null ? '-' : String(row.max_active_per_tenant),
    ]),
  )
  const time = (at: Date | null) => at?.toISOString().slice(0, 19).replace('T', ' ') ?? '-'
  lines.push(
    '',
    ...table(
      ['sweep', 'last done (UTC)', 'last failed (UTC)', 'with'],
      sweeps.map((row) => [row.name, time(row.last_ended_at), time(row.last_failed_at), row.last_error ?? '-']),
    ),
    '',
  )
  if (tenants.length === 0) return [...lines, 'No tenant has jobs, unfinished runs or dead letters.']
  return [
    ...lines,
    ...table(
      ['tenant', 'jobs waiting', 'active', 'runs pending', 'running', 'waiting for a person', 'dead'],
      tenants.map((row) => [
        `${row.tenant_name} ${row.tenant_id}`,
        String(row.waiting_jobs),
        String(row.active_jobs),
        String(row.pending_runs),
        String(row.running_runs),
        String(row.waiting_runs),
        String(row.dead),
      ]),
    ),
  ]
}
