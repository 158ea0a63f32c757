import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOpenAiChat } from '../../supabase/functions/_shared/providers/openai.ts'
import { script, startScriptedModel } from '../support/scripted-model/index.ts'
import type { ScriptedModel, Turn } from '../support/scripted-model/index.ts'

let model: ScriptedModel
beforeAll(async () => {
  model = await startScriptedModel()
})
afterAll(() => model.stop())

async function ask(turn: Turn): Promise<void> {
  model.play(script([turn]))
  const chat = createOpenAiChat(model.env, { maxRetries: 0 })
  const request = { system: '', messages: [{ role: 'user' as const, content: 'Hi' }], context: [], citations: false }
  for await (const _event of chat.stream(request, new AbortController().signal));
}

describe('a prompt that is too long', () => {
  const said = (message: string) => ({ error: { message } })
  it.each<[Turn, string]>([
    [{ status: 400, error: { code: 'context_length_exceeded' } }, 'context_length_exceeded'],
    [
      { status: 400, ...said("This model's maximum context length is 8192 tokens. However, you requested 9000.") },
      'context_length_exceeded',
    ],
    [{ status: 413, ...said('prompt is too long: 210000 tokens > 200000 maximum') }, 'context_length_exceeded'],
    [
      { status: 400, ...said('the request exceeds the available context size. try increasing it') },
      'context_length_exceeded',
    ],
    [{ status: 400, error: { type: 'exceed_context_size_error', message: 'refused' } }, 'context_length_exceeded'],
    [{ status: 422, error: '{"message":"too large for model with 32768 context length"}' }, 'context_length_exceeded'],
    [
      { status: 400, error: '{"object":"error","message":"maximum context length is 4096"}' },
      'context_length_exceeded',
    ],
    [{ status: 400, error: '{"error":"context length exceeded"}' }, 'context_length_exceeded'],
    [{ status: 400, error: 'context window exceeded' }, 'context_length_exceeded'],
    [{ text: 'x', ...said('maximum context length reached') }, 'context_length_exceeded'],
    [{ status: 400, ...said('Unknown parameter: tools') }, 'upstream_failed'],
    [{ status: 500, ...said('context length') }, 'upstream_failed'],
    [{ status: 400, error: '{}' }, 'upstream_failed'],
    [{ status: 400, error: 'null' }, 'upstream_failed'],
    [{ text: 'x', error: { code: 429, message: 'slow down' } }, 'rate_limited'],
    [{ text: 'x', error: { code: 'rate_limit_exceeded', message: 'slow down' } }, 'rate_limited'],
  ])('is told from other failures: %j', async (turn, code) => {
    await expect(ask(turn)).rejects.toMatchObject({ code })
  })
})

describe('an answer that does not end', () => {
  const pieces = (count: number) => Array.from({ length: count }, () => 'word '.repeat(20_000))
  it.each<[string, Turn]>([
    ['text', { text: pieces(21) }],
    ['reasoning', { reasoning: pieces(21) }],
    ['both', { reasoning: pieces(10), text: pieces(11) }],
  ])('is given up: %s', async (_what, turn) => {
    await expect(ask(turn)).rejects.toMatchObject({
      code: 'upstream_failed',
      message: expect.stringMatching(/too large/),
    })
  })

  it('is not one that is merely long', async () => {
    await expect(ask({ reasoning: pieces(9), text: pieces(10) })).resolves.toBeUndefined()
  })
})

describe('the context window', () => {
  const windowOf = (env: Record<string, string>, name?: string | null) => createOpenAiChat(env).contextWindow(name)
  it.each([
    ['gpt-4', 8_192],
    ['gpt-4-0613', 8_192],
    ['gpt-4-turbo-2024-04-09', 128_000],
    ['gpt-4o-mini', 128_000],
    ['openai/gpt-4.1-nano', 1_047_576],
    ['gpt-5-mini', 400_000],
    ['o1-mini', 128_000],
    ['o3', 200_000],
    ['anthropic/Claude-Sonnet-4', 200_000],
    ['meta-llama/Llama-3-8B-Instruct', 8_192],
    ['meta-llama/Llama-3.3-70B-Instruct', 131_072],
    ['never-heard-of-it', 128_000],
    ['constructor', 128_000],
  ])('of %s is %i', (name, tokens) => {
    expect(windowOf({}, name)).toBe(tokens)
  })

  it('is that of the configured model when none is named, and what the environment says above all', () => {
    expect(windowOf({ CHAT_MODEL: 'gpt-4' }, null)).toBe(8_192)
    expect(windowOf({ CHAT_MODEL: 'gpt-4', CHAT_CONTEXT_WINDOW: '5000' }, 'gpt-4o')).toBe(5_000)
    for (const bad of ['0', '-1', 'many', '1.5']) {
      expect(() => windowOf({ CHAT_CONTEXT_WINDOW: bad })).toThrow('CHAT_CONTEXT_WINDOW')
    }
  })
})
