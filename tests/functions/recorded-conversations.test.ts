import { describe, expect, it } from 'vitest'
import { readConversations, replay } from '../support/scripted-model/replay.ts'
import type { WireMessage } from '../support/scripted-model/server.ts'
import type { ScriptedModel } from '../support/scripted-model/index.ts'
import { streamRun } from './support/agent-run.ts'
import type { Endpoint } from './support/endpoint.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import { HARBOR, serviceCaller, userCaller } from './support/http.ts'
import { useModelAndEndpoint } from './support/model-and-endpoint.ts'

const RECORDINGS = new URL('../fixtures/agent/tau-airline.jsonl', import.meta.url)

const userEnv: Record<string, string> = {}
let model: ScriptedModel
let endpoint: Endpoint
useModelAndEndpoint(userEnv, (both) => void ({ model, endpoint } = both))
const stack = useFunctionsStack({ userEnv })

type Call = { name: string; args: unknown }
const callOf = ({ function: called }: NonNullable<WireMessage['tool_calls']>[number]): Call => ({
  name: String(called?.name),
  args: JSON.parse(String(called?.arguments)),
})

/** An agent with every tool that is called in the recording, at the endpoint. */
async function agentWith(names: readonly string[]) {
  const backend = serviceCaller(stack, { 'x-tenant-id': HARBOR })
  const agent = await backend.json(201, 'POST', '/api/agents', { json: { name: `Airline ${names.join(' ')}` } })
  for (const name of names) {
    const { tools } = await backend.json(200, 'GET', `/api/tools?q=${name}`)
    const known = (tools as { id: string; name: string }[]).find((tool) => tool.name === name)
    const tool =
      known ??
      (await backend.json(201, 'POST', '/api/tools', {
        json: {
          name,
          description: `${name} of the airline.`,
          type: 'http',
          input_schema: { type: 'object', additionalProperties: true },
          config: { endpoint: `${endpoint.url}/${name}`, method: 'POST' },
        },
      }))
    await backend.json(201, 'POST', `/api/agents/${agent['id']}/tools`, {
      // Vouched for: what a run has read asks nobody before the next call.
      json: { tool_type: 'custom', tool_name: name, tool_id: tool['id'], config_override: { untrusted: 'allow' } },
    })
  }
  return agent['id'] as string
}

/** The two with the most calls of different tools. */
const PLAYED = [1, 3]

describe.each(PLAYED.map((index) => [index, readConversations(RECORDINGS)[index] ?? []] as const))(
  'recorded conversation %i, through the function and back',
  (index, messages) => {
    it('says, calls and is told the same as then, question by question in one session', async () => {
      model.play(replay(RECORDINGS, index))
      const calls = messages.flatMap((message) => (message.tool_calls ?? []).map(callOf))
      const results = messages.filter(({ role }) => role === 'tool')
      const agentId = await agentWith([...new Set(calls.map(({ name }) => name))])
      const sent: Call[] = []
      const wanted: Call[] = []
      endpoint.answerWith(({ path, text }) => {
        sent.push({ name: String(path).slice(1), args: JSON.parse(text) })
        return { text: String(results[sent.length - 1]?.content) }
      })
      const person = await userCaller(stack, 'member@harbor.example')
      let sessionId: unknown
      for (const [at, message] of messages.entries()) {
        if (message.role !== 'user') continue
        const after = messages.slice(at + 1)
        const until = after.findIndex(({ role }) => role === 'user')
        const answers = after.slice(0, until < 0 ? undefined : until).filter(({ role }) => role === 'assistant')
        const said = answers.flatMap(({ content }) => (content ? [String(content)] : []))
        // The last question has no answer where the person leaves, or is handed over to somebody.
        if (said.length === 0) continue
        wanted.push(...answers.flatMap((answer) => (answer.tool_calls ?? []).map(callOf)))
        const json = { message: String(message.content), ...(sessionId ? { session_id: sessionId } : {}) }
        const run = await streamRun(person, agentId, json)
        expect(run.complete, run.raw.slice(-500)).toMatchObject({ status: 'completed', content: said.join('\n\n') })
        sessionId = run.complete['session_id']
      }
      expect(sent).toEqual(wanted)
    })
  },
)
