import { median } from './stats.ts'
import { signIn, type Target } from './target.ts'

const RUNS = 10
const QUESTION = 'What does the harbor inspection record after the storm?'

export type FirstByteResult = { first: number; complete: number; runs: number }

/** Milliseconds from asking to the first byte and to the end of the event stream. The documents of earlier runs are there. */
export async function measureFirstByte(target: Target): Promise<FirstByteResult> {
  const client = await signIn(target, 'member@harbor.example')
  const { session } = (await client.auth.getSession()).data
  const first: number[] = []
  const complete: number[] = []
  for (let run = 0; run <= RUNS; run++) {
    const startedAt = performance.now()
    const response = await fetch(`${target.url}/functions/v1/chat`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${session?.access_token}`,
        apikey: target.publishableKey,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ message: QUESTION }),
    })
    if (!response.ok || !response.body) throw new Error(`chat: ${response.status} ${await response.text()}`)
    const reader = response.body.getReader()
    await reader.read()
    const firstMs = performance.now() - startedAt
    while (!(await reader.read()).done);
    if (run === 0) continue // warms up what every later question finds warm
    first.push(firstMs)
    complete.push(performance.now() - startedAt)
  }
  return { first: median(first), complete: median(complete), runs: RUNS }
}
