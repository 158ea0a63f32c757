// Runs on Deno: verifies the calls it is given as JSON and says what came of each.
import process from 'node:process'
import { verifyToolCall } from '../../../client/verify-tool-call.ts'
import type { ToolCallError } from '../../../client/verify-tool-call.ts'
import type { GivenCall } from './tool-calls.ts'

const { calls, jwks } = JSON.parse(process.argv[2] ?? '{}') as { calls: GivenCall[]; jwks: { keys: [] } }
const outcomes: string[] = []
for (const { headers, body, options } of calls) {
  // The web's own Request, as `Deno.serve` gives it.
  const request = new Request('https://tools.example.com/search', { method: 'POST', headers, body })
  const outcome = await verifyToolCall(request, { ...options, jwks }).then(
    ({ userId }) => `verified for ${userId}`,
    (error: ToolCallError) => error.code ?? String(error),
  )
  outcomes.push(outcome)
}
process.stdout.write(JSON.stringify(outcomes))
