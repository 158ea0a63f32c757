import { readSse } from '../../supabase/functions/_shared/sse.ts'
import { Timeline } from './timeline.ts'

/** What came over one stream: times as performance.now() gives them. */
export type ReadStream = {
  startedAt: number
  text: Timeline
  /** When each kind of event came first. */
  firstOf: Map<string, number>
  last: Record<string, unknown>
}

/**
 * Sends a request and reads its event stream to the end.
 * @param textOf the text that an event brings; empty for other events
 * @throws when the answer is a refusal, or has no text
 */
export async function readStream(
  url: string,
  init: { headers: Record<string, string>; body: object },
  textOf: (event: Record<string, unknown>) => string,
): Promise<ReadStream> {
  const text = new Timeline()
  const firstOf = new Map<string, number>()
  let last: Record<string, unknown> = {}
  const startedAt = performance.now()
  const response = await fetch(url, { method: 'POST', headers: init.headers, body: JSON.stringify(init.body) })
  if (!response.ok || !response.body) throw new Error(`${url}: ${response.status} ${await response.text()}`)
  for await (const data of readSse(response.body)) {
    if (data === '[DONE]') continue
    const event = JSON.parse(data) as Record<string, unknown>
    const piece = textOf(event)
    const now = performance.now()
    if (piece !== '') text.add(piece, now)
    const kind = String(event['event'])
    if (!firstOf.has(kind)) firstOf.set(kind, now)
    last = event
  }
  if (text.chars === 0)
    throw new Error(`${url}: there was no text. It ended with ${JSON.stringify(last).slice(0, 500)}`)
  return { startedAt, text, firstOf, last }
}
