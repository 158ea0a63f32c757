import { describe, expect, it } from 'vitest'
import { askForObject, objectSchema } from '../../../supabase/functions/_shared/agent/ask-for-object.ts'
import type { ChatEvent, ChatProvider } from '../../../supabase/functions/_shared/providers/index.ts'

const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, reasoning_tokens: 0, cached_tokens: 0 }

/** What becomes of the answer, given as often as it is asked for. */
function ask(answer: string) {
  const chat: ChatProvider = {
    name: 'fake',
    model: 'm',
    modelFor: () => 'm',
    contextWindow: () => 8000,
    // deno-lint-ignore require-await
    async *stream(): AsyncIterable<ChatEvent> {
      yield { type: 'delta', text: answer }
      yield { type: 'done', usage, finishReason: 'stop' }
    },
  }
  const schema = objectSchema({ quay: { type: 'number' } })
  const question = { system: '', ask: '', schema, schemaName: 's', model: null, maxTokens: 9 }
  const access = { chat, signal: new AbortController().signal, log: { info() {}, error() {} } }
  return askForObject(access, question, null)
}

describe('an answer', () => {
  it.each([
    '{"quay": 7}',
    ' \n{"quay": 7}\n',
    '```\n{"quay": 7}\n```',
    '```json\n{"quay": 7}```',
    ' \n```json \r\n{\n"quay": 7\n}\r\n```\n\n',
  ])('is read, also in a fence: %j', async (answer) => {
    expect((await ask(answer)).object).toEqual({ quay: 7 })
  })

  it.each([
    ['prose before it', 'Here:\n```json\n{"quay": 7}\n```'],
    ['prose behind it', '```json\n{"quay": 7}\n```\nDone.'],
    ['a fence that is not closed', '```json\n{"quay": 7}'],
    ['another language', '```yaml\n{"quay": 7}\n```'],
    ['nothing but a fence', '```'],
    ['an empty fence', '```\n```'],
    // A pattern that looks for the end from each of these takes minutes.
    ['hundreds of thousands of lines without an end', `\`\`\`${'\n'.repeat(400_000)}x`],
  ])('is none with %s', async (_, answer) => {
    expect(await ask(answer)).toMatchObject({ object: null, error: { code: 'invalid_answer' } })
  })

  it.each(['', 'x'])(
    'is told what is wrong with it in a text that can be stored, names that begin with %j cut',
    async (begin) => {
      const { error } = await ask(JSON.stringify({ quay: 7, [`${begin}${'\u{1f980}'.repeat(300)}`]: 1 }))
      expect(error?.message).toContain('\u{1f980}')
      expect(error?.message.isWellFormed()).toBe(true)
    },
  )
})
