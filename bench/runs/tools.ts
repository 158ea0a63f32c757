import pg from 'pg'
import { figure } from '../search/bars.ts'
import { headersOf, type World } from '../agent/world.ts'
import { time, type Line } from '../agent/report.ts'
import { percentile } from '../support/stats.ts'

/** Milliseconds of one kind of thing. */
export type Times = { count: number; p50: number; p95: number; p99: number }

/** @throws when there are no values. */
export const timesOf = (values: readonly number[]): Times => ({
  count: values.length,
  p50: percentile([...values], 0.5),
  p95: percentile([...values], 0.95),
  p99: percentile([...values], 0.99),
})

export const shown = ({ p50, p95, p99, count }: Times): string =>
  `p50 ${time(p50)}  p95 ${time(p95)}  p99 ${time(p99)}  (${count})`

/** A figure of ours beside another of the same run, and how many times as much it is. */
export const beside = (name: string, ours: Times, otherName: string, other: Times): Line[] => [
  [name, shown(ours)],
  [`  ${otherName}`, shown(other)],
  ['  ratio of p95', `${figure(ours.p95 / other.p95)}x`],
]

export type Json = Record<string, unknown>

/** Whoever asks: a person of a tenant, with an agent of it. */
export type Asker = { headers: Record<string, string>; agentId: string }

export const askerOf = (world: World): Asker => ({ headers: headersOf(world, world.caller), agentId: world.agentId })

/** A request to the function `api`. @throws for an answer that is none of success. */
export async function api(world: World, asker: Asker, method: string, path: string, body?: object): Promise<Json> {
  const response = await fetch(`${world.url}/functions/v1/api${path}`, {
    method,
    headers: asker.headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Json
}

/** Begins a run that a worker carries out; returns its public id. */
export async function inBackground(world: World, asker: Asker, message: string): Promise<string> {
  const run = await api(world, asker, 'POST', `/agents/${asker.agentId}/run`, { message, background: true })
  return String(run['run_id'])
}

/** The events of a stream, as they come. */
export async function* eventsIn(response: Response): AsyncGenerator<Json> {
  if (!response.ok || !response.body) throw new Error(`A stream answered ${response.status}: ${await response.text()}`)
  let rest = ''
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice(6)) as Json
  }
}

/**
 * Runs an agent over a stream, the way that lets it use its tools, and reads it to its end; returns its public id.
 * @param onEvent sees each event; what it begins is awaited at the end
 */
export async function streamed(
  world: World,
  asker: Asker,
  message: string,
  onEvent: (event: Json) => Promise<unknown> | undefined = () => undefined,
): Promise<string> {
  const response = await fetch(`${world.url}/functions/v1/api/agents/${asker.agentId}/run/stream`, {
    method: 'POST',
    headers: asker.headers,
    body: JSON.stringify({ message }),
  })
  let runId = ''
  const begun: Promise<unknown>[] = []
  for await (const event of eventsIn(response)) {
    runId ||= String(event['run_id'] ?? '')
    const work = onEvent(event)
    if (work) begun.push(work)
  }
  await Promise.all(begun)
  return runId
}

/** Asks until there is an answer. @throws after a minute. */
export async function until<T>(ask: () => Promise<T | null | undefined>, what: string): Promise<T> {
  const end = Date.now() + 60_000
  for (;;) {
    const answer = await ask()
    if (answer !== null && answer !== undefined) return answer
    if (Date.now() > end) throw new Error(`${what} did not come.`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export type RunTimes = { created: number; started: number; completed: number; steps: number; id: string }

/** The times of a run that is over, by the clock of the database. */
export const whenOver = (db: pg.Pool, runId: string): Promise<RunTimes> =>
  until(async () => {
    const { rows } = await db.query<Json>(
      `select id, status, error, created_at, started_at, completed_at, jsonb_array_length(steps) as steps from ai.agent_runs where run_id = $1`,
      [runId],
    )
    const row = rows[0]
    if (!row || row['completed_at'] === null) return null
    if (row['status'] !== 'completed')
      throw new Error(`A run ended as ${String(row['status'])}: ${String(row['error'])}`)
    const at = (name: string) => (row[name] as Date).getTime()
    return {
      id: String(row['id']),
      created: at('created_at'),
      started: at('started_at'),
      completed: at('completed_at'),
      steps: Number(row['steps']),
    }
  }, `The end of ${runId}`)
