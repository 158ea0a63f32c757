import { expect } from 'vitest'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import { takeUp } from '../../../supabase/functions/_shared/execution/drive.ts'
import { executeRun } from '../../../supabase/functions/_shared/execution/execution.ts'
import type { RunEnd } from '../../../supabase/functions/_shared/execution/execution.ts'
import type { RunDeps } from '../../../supabase/functions/_shared/execution/prepare.ts'
import type { Ledger } from '../../../supabase/functions/_shared/ledger.ts'
import type { ModelInput, Player } from '../../support/scripted-model/index.ts'
import type { Turn } from '../../support/scripted-model/turns.ts'
import type { TestStack } from '../../support/stack.ts'
import type { FunctionsCaller, Json } from './http.ts'

/** An event stream that is read one event at a time. */
export type OpenStream = {
  /** The next event; null at the end. */
  next: () => Promise<Json | null>
  /** All events up to the end, or up to one for which `isLast` holds. */
  rest: (isLast?: (event: Json) => boolean) => Promise<Json[]>
  /** Hangs up. */
  leave: () => Promise<void>
  /** Everything that came, as text. */
  raw: () => string
}

/** Reads a response as the documented clients do. */
export function openStream(response: Response): OpenStream {
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
  const reader = response.body!.getReader()
  const decoder = new TextDecoder()
  const ready: Json[] = []
  let raw = ''
  let left = ''
  const next: OpenStream['next'] = async () => {
    while (ready.length === 0) {
      const { value, done } = await reader.read()
      if (done) return null
      const text = decoder.decode(value, { stream: true })
      raw += text
      const lines = (left + text).split('\n')
      left = lines.pop() ?? ''
      for (const line of lines) if (line.startsWith('data: ')) ready.push(JSON.parse(line.slice(6)) as Json)
    }
    return ready.shift() ?? null
  }
  return {
    next,
    async rest(isLast = () => false) {
      const events: Json[] = []
      for (let event = await next(); event !== null; event = await next()) {
        events.push(event)
        if (isLast(event)) break
      }
      return events
    },
    leave: () => reader.cancel(),
    raw: () => raw,
  }
}

/** Starts a run and opens its stream. */
export const begin = async (caller: FunctionsCaller, agentId: string, json: object): Promise<OpenStream> => {
  const response = await caller.send('POST', `/api/agents/${agentId}/run/stream`, { json })
  if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
  return openStream(response)
}

/** Opens the stream of a run that was begun. */
export const follow = async (caller: FunctionsCaller, runId: string, after = 0): Promise<OpenStream> =>
  openStream(await caller.send('GET', `/api/agents/runs/${runId}/stream?after=${after}`))

/** A model that answers by how many results of tools it has seen, so that asking again changes nothing. */
export const bySteps =
  (turns: (Turn | ((input: ModelInput) => Turn))[]): Player =>
  (input) => {
    const turn = turns[Math.min(input.messages.filter(({ role }) => role === 'tool').length, turns.length - 1)]!
    return typeof turn === 'function' ? turn(input) : turn
  }

/** Calls of the ledger by which an executor lives. */
const CALLS = ['appendRunEvents', 'appendAndReserve', 'beatRun', 'suspendRun', 'finishRun', 'recordRunTrace'] as const

/** A ledger that lets an executor get no further than a number of events: it hangs there, as one that was killed. */
export function dyingLedger(real: Ledger, most: number) {
  let hasDied = false
  let bury = () => {}
  const burial = new Promise<void>((resolve) => (bury = resolve))
  const died = Promise.withResolvers<void>()
  const die = async (): Promise<never> => {
    hasDied = true
    died.resolve()
    await burial
    throw new AppError('forbidden', 'The executor is dead.')
  }
  const ledger: Partial<Ledger> = {}
  for (const name of CALLS) {
    const call = real[name] as (...args: unknown[]) => Promise<unknown>
    const wrapped = (...args: unknown[]) => {
      const write = Object(args.at(-1)) as { firstSeq?: number; events?: unknown[]; rest?: typeof write }
      const { firstSeq = 0, events = [] } = write.rest ?? write
      if (hasDied || (events.length > 0 && firstSeq + events.length - 1 > most)) return die()
      return call(...args)
    }
    Object.assign(ledger, { [name]: wrapped })
  }
  return { ledger, bury, died: died.promise }
}

/** Lets the lease of a run run out. */
export const expireLease = async (stack: TestStack, runId: string): Promise<void> => {
  await stack.db.query(
    `update ai.agent_runs set lease_expires_at = now() - interval '1 second' where run_id = $1 and status = 'running'`,
    [runId],
  )
}

/** Internal id and standing of a run. */
export async function standingOf(stack: TestStack, runId: string): Promise<Json> {
  const [row] = await stack.db.query<Json>(
    'select id, status, error_code, last_seq, wait_reason, content, attempts from ai.agent_runs where run_id = $1',
    [runId],
  )
  if (!row) throw new Error(`There is no run ${runId}.`)
  return row
}

/** Takes a run up as another process would. Null: there was nothing to take up. */
export async function carryOn(deps: RunDeps, id: string): Promise<RunEnd | null> {
  const execution = await takeUp(deps, id)
  return execution === null ? null : executeRun(deps, execution, { deliver: () => {} })
}

/** Asserts what every log of a run that is over must be. */
export function expectWhole(events: Json[]): void {
  expect(events.map(({ seq }) => seq as number)).toEqual(events.map((_, at) => at + 1))
  expect(events.filter(({ event }) => event === 'complete')).toHaveLength(1)
  expect(events.at(-1)).toMatchObject({ event: 'complete' })
  expect(events.filter(({ event }) => event === 'start')).toHaveLength(1)
  expect(events[0]).toMatchObject({ event: 'start' })
}

/** The text as its pieces say, by their offsets. */
export function textOf(events: Json[]): string {
  let text = ''
  for (const event of events) {
    if (event['event'] === 'step_reset') text = text.slice(0, event['off'])
    if (event['event'] !== 'content_delta') continue
    expect(event['off']).toBe(text.length)
    text += event['delta']
  }
  return text
}
