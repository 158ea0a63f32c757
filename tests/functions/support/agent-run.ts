import { expect } from 'vitest'
import type { FunctionsCaller, Json } from './http.ts'

/** What came over the stream of one run. */
export type StreamedRun = {
  events: Json[]
  /** Kinds of the events, without deltas. */
  order: string[]
  complete: Json
  /** All of it as text, for canary searches. */
  raw: string
}

/** Runs an agent as the documented clients do: keeps lines that start with `data: `. @param onEvent sees each as it comes. */
export async function streamRun(
  caller: FunctionsCaller,
  agentId: string,
  body: object,
  onEvent: (event: Json) => void | Promise<void> = () => {},
): Promise<StreamedRun> {
  const response = await caller.send('POST', `/api/agents/${agentId}/run/stream`, { json: body })
  if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
  const events: Json[] = []
  let raw = ''
  let rest = ''
  const decoder = new TextDecoder()
  for await (const piece of response.body!) {
    const text = decoder.decode(piece, { stream: true })
    raw += text
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (!line.startsWith('data: ')) continue
      const event = JSON.parse(line.slice(6)) as Json
      events.push(event)
      await onEvent(event)
    }
  }
  const complete = events.at(-1) ?? {}
  expect(complete['event'], raw.slice(-500)).toBe('complete')
  const order = events.map((event) => event['event'] as string).filter((kind) => !kind.endsWith('_delta'))
  return { events, order, complete, raw }
}

/** Events of one kind. */
export const eventsOf = ({ events }: StreamedRun, kind: string): Json[] =>
  events.filter((event) => event['event'] === kind)
