import type { ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { type ReadStream, readStream } from './read-stream.ts'
import { headersOf, type World } from './world.ts'

const QUESTION = 'What does the harbor inspection record after the storm?'

/** Runs the agent over HTTP. */
export const askAgent = (world: World): Promise<ReadStream> =>
  readStream(
    `${world.url}/functions/v1/api/agents/${world.agentId}/run/stream`,
    { headers: headersOf(world, world.caller), body: { message: QUESTION } },
    (event) => (event['event'] === 'content_delta' ? String(event['delta']) : ''),
  )

/** Asks the model's server itself, as directly as that goes. */
export const askModel = (model: ScriptedModel): Promise<ReadStream> =>
  readStream(
    `${model.url}/chat/completions`,
    {
      headers: { authorization: `Bearer ${model.env.OPENAI_API_KEY}`, 'content-type': 'application/json' },
      body: {
        model: model.env.CHAT_MODEL,
        messages: [{ role: 'user', content: QUESTION }],
        stream: true,
        stream_options: { include_usage: true },
      },
    },
    (event) => {
      const [choice] = (event['choices'] ?? []) as { delta?: { content?: string } }[]
      return choice?.delta?.content ?? ''
    },
  )

/** @throws when the run did not bring this text, or did not end well. */
export function checkAnswer({ last, text }: ReadStream, chars: number): void {
  if (last['event'] === 'complete' && last['status'] === 'completed' && text.chars === chars) return
  throw new Error(
    `A run brought ${text.chars} of ${chars} characters and ended with ${JSON.stringify(last).slice(0, 300)}.`,
  )
}
