import { connectSocket } from '../../../supabase/functions/_shared/egress/connect.ts'
import { createEgress, EgressError } from '../../../supabase/functions/_shared/egress/index.ts'
import type { EgressRequest } from '../../../supabase/functions/_shared/egress/index.ts'

/** What the probe is told, as JSON in its one argument. */
export type ProbeInput = {
  /** Addresses of names, one list per question, the last one for ever. */
  names: Record<string, string[][]>
  /** Ports on 127.0.0.1 that stand for these addresses; others are not reached. */
  ports: Record<string, number>
  ca: string
  requests: { url: string; request?: EgressRequest }[]
}

/**
 * Makes requests through the egress on whatever runtime it runs on, for a test that compares runtimes. Per request: status,
 * the first characters of the body, its length and whether it was cut; or the code of the error.
 */
export async function probe({ names, ports, ca, requests }: ProbeInput): Promise<string[]> {
  const asked = new Map<string, number>()
  const egress = createEgress({
    ca,
    resolver(hostname) {
      const answers = names[hostname] ?? [[]]
      const times = asked.get(hostname) ?? 0
      asked.set(hostname, times + 1)
      return Promise.resolve(answers[Math.min(times, answers.length - 1)] as string[])
    },
    connector(endpoint, signal) {
      const port = ports[endpoint.address]
      if (port === undefined) throw new Error('no such address')
      return connectSocket({ ...endpoint, address: '127.0.0.1', port }, signal)
    },
  })
  const outcomes: string[] = []
  for (const { url, request } of requests) {
    try {
      const { status, body, truncated, text } = await egress.fetch(url, request)
      outcomes.push(`${status} ${text().slice(0, 40)} (${body.byteLength}${truncated ? ', cut' : ''})`)
    } catch (error) {
      outcomes.push(error instanceof EgressError ? error.code : String(error))
    }
  }
  return outcomes
}
