import { describe, expect, it } from 'vitest'
import { messageTokens, promptBudget } from '../../../supabase/functions/_shared/agent/context-size.ts'
import {
  REMOVED_RESULT,
  cutMiddle,
  startOfLastTurns,
  truncateMessages,
  withoutOldResults,
} from '../../../supabase/functions/_shared/agent/truncation.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { ChatMessage } from '../../../supabase/functions/_shared/providers/index.ts'
import type { ScriptedModel, Turn } from './support/loop-fakes.ts'
import {
  assertWellFormed,
  call,
  fakeTool,
  only,
  runScript,
  say,
  scriptedModel,
  shownText,
} from './support/loop-fakes.ts'
import { createRandom } from '../support/random.ts'

const user = (content: string): ChatMessage => ({ role: 'user', content })
const asks = (id: string, content = ''): ChatMessage => ({
  role: 'assistant',
  content,
  toolCalls: [{ id, name: 't', arguments: '{}' }],
})
const result = (id: string, content: string): ChatMessage => ({ role: 'tool', toolCallId: id, name: 't', content })
const says = (content: string): ChatMessage => ({ role: 'assistant', content })
const tooLong = () => new AppError('context_length_exceeded', 'The prompt is too long for the model.')
const isSummaryRequest = (model: ScriptedModel, at: number) =>
  model.requests[at]?.system.startsWith('Summarise') === true

/** A model that calls `t` so many times and then answers; asked for a summary it gives one. */
const worker = (
  steps: number,
  window: number,
  summary: Turn = [say('The user wants X; 7 was found.')],
): ScriptedModel => {
  let calls = 0
  return scriptedModel((request) => {
    if (request.system.startsWith('Summarise')) return summary
    return calls < steps ? [call('t', { n: calls++ })] : [say('Done.')]
  }, window)
}

/** Every result in a prompt follows the answer that asked for it, and every call has its result. */
function assertPaired(messages: readonly ChatMessage[]): void {
  const open: string[] = []
  for (const message of messages) {
    if (message.role === 'tool') {
      expect(open.shift()).toBe(message.toolCallId)
    } else {
      expect(open).toEqual([])
      if (message.role === 'assistant') open.push(...(message.toolCalls ?? []).map(({ id }) => id))
    }
  }
  expect(open).toEqual([])
}

describe('the size of a prompt', () => {
  it('leaves room for the answer and a margin', () => {
    const model = scriptedModel([], 100_000)
    expect(promptBudget(model, {})).toBe(100_000 - 8192 - 8000)
    expect(promptBudget(model, { maxTokens: 500 })).toBe(100_000 - 500 - 8000)
    expect(promptBudget(scriptedModel([], 1000), { maxTokens: 99_999 })).toBe(1000 - 500 - 100)
  })

  it('is a quarter of the characters, calls included', () => {
    expect(messageTokens([user('x'.repeat(40)), asks('c', 'yyyy')])).toBe(Math.ceil((40 + 4 + 1 + 2) / 4))
  })
})

describe('old results', () => {
  const old = 'x'.repeat(1000)

  it('before the last three messages of the person give way to a placeholder', () => {
    const messages = [
      user('1'),
      asks('a'),
      result('a', old),
      says('ok'),
      user('2'),
      says('ok'),
      user('3'),
      says('ok'),
      user('4'),
    ]
    const after = withoutOldResults(messages, 3)
    expect(after[2]?.content).toBe(REMOVED_RESULT)
    expect(after.filter((message) => message.role !== 'tool')).toEqual(
      messages.filter((message) => message.role !== 'tool'),
    )
  })

  it('of one long turn do so too: results handed to the model count as turns', () => {
    const messages = [user('1'), ...['a', 'b', 'c', 'd'].flatMap((id) => [asks(id), result(id, old)])]
    expect(withoutOldResults(messages, 3).map(({ content }) => content === REMOVED_RESULT)).toEqual([
      ...[false, false, true],
      ...[false, false, false, false, false, false],
    ])
    expect(startOfLastTurns(messages, 3)).toBe(3)
  })

  it('stay when they are shorter than the placeholder', () => {
    const messages = [user('1'), asks('a'), result('a', '42'), user('2'), user('3'), user('4')]
    expect(withoutOldResults(messages, 3)).toEqual(messages)
  })
})

describe('compaction before a call', () => {
  const long = 'x'.repeat(8000) // 2,000 tokens a result

  it('does nothing while the prompt fits', async () => {
    const model = worker(3, 1_000_000)
    const { events } = await runScript(model, [fakeTool('t', long)])
    expect(events.map(({ event }) => event)).not.toContain('proactive_compact')
    expect(model.requests.at(-1)?.messages.filter((message) => message.content === long)).toHaveLength(3)
  })

  it('takes out old results first, which needs no model', async () => {
    const model = worker(6, 16_000)
    const { events, result: ran } = await runScript(model, [fakeTool('t', long)])
    const compactions = only(events, 'proactive_compact')
    expect(compactions.length).toBeGreaterThan(0)
    expect(compactions[0]).toMatchObject({ succeeded: true, step: expect.any(Number) })
    expect(Number(compactions[0]?.['tokens_after'])).toBeLessThan(Number(compactions[0]?.['tokens_before']))
    expect(only(events, 'compaction')).toEqual([])
    expect(model.requests.some((_request, at) => isSummaryRequest(model, at))).toBe(false)
    expect(model.requests.at(-1)?.messages[2]?.content).toBe(REMOVED_RESULT)
    expect(ran.status).toBe('completed')
    for (const request of model.requests) assertPaired(request.messages)
    assertWellFormed(events)
  })

  it('summarises with the same model when that is not enough, and keeps the question word for word', async () => {
    let calls = 0
    const model = scriptedModel((request) => {
      if (request.system.startsWith('Summarise')) return [say('So far: 7.')]
      return calls < 8 ? [say('y'.repeat(6000)), call('t', { n: calls++ })] : [say('Done.')]
    }, 16_000)
    const { events, result: ran } = await runScript(model, [fakeTool('t', 'short')], {
      request: {
        model: 'model-c',
        system: 'Be brief.',
        messages: [user('What about ship 42?')],
        context: [],
        citations: false,
      },
    })
    const at = model.requests.findIndex((_request, index) => isSummaryRequest(model, index))
    expect(model.requests[at]).toMatchObject({ model: 'model-c', context: [], citations: false })
    expect(model.requests[at]).not.toHaveProperty('tools')
    const next = model.requests[at + 1]?.messages ?? []
    expect(next[0]?.content).toMatch(
      /^What about ship 42\?\n\n\[Summary of what went before.*not an instruction:\nSo far: 7\.\]$/s,
    )
    expect(next).toHaveLength(7)
    assertPaired(next)
    expect(only(events, 'compaction')[0]).toMatchObject({ message_count: 7 })
    expect(shownText(events)).not.toContain('So far: 7.')
    // Summaries are paid for as well.
    expect(ran.usage.total_tokens).toBe(13 * model.requests.length)
    expect(ran.steps.reduce((sum, step) => sum + step.usage.total_tokens, 0)).toBe(ran.usage.total_tokens)
    // A second compaction does not pile questions and summaries up.
    const last = model.requests.at(-1)?.messages[0]?.content ?? ''
    expect(last.split('What about ship 42?')).toHaveLength(2)
    expect(last.split('Summary of what went before')).toHaveLength(2)
    assertWellFormed(events)
  })

  it('puts the summary of earlier turns before the turns that stay', async () => {
    const history = Array.from({ length: 10 }, (_, n) => [user(`question ${n}`), says('z'.repeat(4000))]).flat()
    const model = scriptedModel(
      (request) => [say(request.system.startsWith('Summarise') ? 'Ten questions.' : 'Answer.')],
      12_000,
    )
    const { result: ran } = await runScript(model, [], {
      request: { system: '', messages: [...history, user('And now?')], context: [], citations: false },
    })
    const messages = model.requests[1]?.messages ?? []
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant', 'user'])
    expect(messages[0]?.content).toMatch(/^\[Summary.*Ten questions\.\]\n\nquestion 8$/s)
    expect(messages.at(-1)?.content).toBe('And now?')
    expect(ran.content).toBe('Answer.')
  })

  it.each([
    ['fails', [new AppError('upstream_failed', 'no')]],
    ['is empty', [say('  ')]],
    ['is no shorter', [say('w'.repeat(200_000))]],
  ] as [string, Turn][])('gives up after three summaries in a row of which each %s', async (_name, summary) => {
    let calls = 0
    const model = scriptedModel((request) => {
      if (request.system.startsWith('Summarise')) return summary
      return calls < 10 ? [say('y'.repeat(6000)), call('t', { n: calls++ })] : [say('Done.')]
    }, 16_000)
    const { events, result: ran } = await runScript(model, [fakeTool('t')])
    expect(only(events, 'proactive_compact').map((event) => event['succeeded'])).toEqual([false, false, false])
    expect(model.requests.filter((_request, at) => isSummaryRequest(model, at))).toHaveLength(3)
    expect(JSON.stringify(model.requests)).not.toContain('www')
    expect(ran.status).toBe('completed')
    assertWellFormed(events)
  })

  it('goes on trying when one in between has helped', async () => {
    let calls = 0
    let summaries = 0
    const model = scriptedModel((request) => {
      if (request.system.startsWith('Summarise')) return ++summaries === 3 ? [say('So far: 7.')] : [say('')]
      return calls < 16 ? [say('y'.repeat(6000)), call('t', { n: calls++ })] : [say('Done.')]
    }, 16_000)
    const { events } = await runScript(model, [fakeTool('t')])
    const succeeded = only(events, 'proactive_compact').map((event) => event['succeeded'])
    expect(succeeded).toEqual([false, false, true, false, false, false])
  })

  it('ends with the run when that is stopped', async () => {
    const controller = new AbortController()
    const model = worker(10, 4000, [])
    const stream = model.stream.bind(model)
    model.stream = async function* (request, signal) {
      if (request.system.startsWith('Summarise')) {
        setTimeout(() => controller.abort())
        await new Promise(() => {})
      }
      yield* stream(request, signal)
    }
    const { result: ran, events } = await runScript(model, [fakeTool('t', long)], { signal: controller.signal })
    expect(ran).toMatchObject({ status: 'failed', errorCode: 'conflict' })
    assertWellFormed(events)
  })
})

describe('a prompt the provider refuses as too long', () => {
  const history = Array.from({ length: 6 }, (_, n) => [user(`question ${n}`), says('z'.repeat(3000))]).flat()
  const request = { system: '', messages: [...history, user('And now?')], context: [], citations: false }

  it('is compacted once and tried again', async () => {
    let refusals = 0
    const model = scriptedModel((asked) => {
      if (asked.system.startsWith('Summarise')) return [say('Six questions.')]
      return refusals++ === 0 ? [say('Hal'), tooLong()] : [say('Answer.')]
    })
    const { result: ran, events } = await runScript(model, [], { request })
    expect(events.map(({ event }) => event)).toEqual([
      'step_started',
      'content_delta',
      'step_reset',
      'compaction',
      'reactive_compact',
      'content_delta',
      'step_completed',
    ])
    expect(only(events, 'step_reset')[0]).toMatchObject({ reason: 'prompt_too_long' })
    expect(model.requests.at(-1)?.messages).toHaveLength(1)
    expect(model.requests.at(-1)?.messages[0]?.content).toMatch(/Six questions\.\]\n\nAnd now\?$/)
    expect(ran).toMatchObject({ status: 'completed', content: 'Answer.' })
    assertWellFormed(events)
  })

  it('is cut without a model when that does not help', async () => {
    let refusals = 0
    const model = scriptedModel((asked) => {
      if (asked.system.startsWith('Summarise')) return [new AppError('upstream_failed', 'no')]
      return refusals++ < 2 ? [tooLong()] : [say('Answer.')]
    })
    const { result: ran, events } = await runScript(model, [], { request })
    const [cut] = only(events, 'reactive_truncate')
    expect(Number(cut?.['after'])).toBeLessThanOrEqual(Number(cut?.['before']) / 2)
    expect(model.requests.at(-1)?.messages.at(-1)).toEqual(user('And now?'))
    expect(ran).toMatchObject({ status: 'completed', content: 'Answer.' })
  })

  it('fails with its own code when nothing helps', async () => {
    const model = scriptedModel((asked) => (asked.system.startsWith('Summarise') ? [say('s')] : [tooLong()]))
    const { result: ran, events } = await runScript(model, [], { request })
    expect(only(events, 'step_reset')).toHaveLength(2)
    expect(ran).toMatchObject({ status: 'failed', errorCode: 'context_length_exceeded' })
    assertWellFormed(events)
  })

  it('by the fallback model is measured against its own window', async () => {
    const model = scriptedModel(
      (asked, at) => {
        if (asked.system.startsWith('Summarise')) return [say('s')]
        return at === 0 ? [new AppError('rate_limited', 'no')] : at === 1 ? [call('t')] : [say('x')]
      },
      (name) => (name === 'model-b' ? 4000 : 1_000_000),
    )
    const { events } = await runScript(model, [fakeTool('t')], { request, fallbackModel: 'model-b' })
    expect(only(events, 'proactive_compact')).toHaveLength(1)
    expect(only(events, 'proactive_compact')[0]).toMatchObject({ step: 2 })
  })
})

describe('truncateMessages', () => {
  it('keeps what fits', () => {
    const messages = [user('a'), asks('c'), result('c', 'b')]
    expect(truncateMessages(messages, 1000)).toEqual(messages)
  })

  it('fits, keeps the question and the last part, and never parts a call from its result', () => {
    const random = createRandom(11)
    const any = (limit: number) => Math.floor(random() * limit)
    for (let round = 0; round < 300; round++) {
      const messages: ChatMessage[] = []
      for (let turn = 0, id = 0; turn < 1 + any(6); turn++) {
        messages.push(user(`q${turn} ${'u'.repeat(any(300))}`))
        for (let step = 0; step < any(4); step++) {
          const ids = Array.from({ length: 1 + any(3) }, () => `c${id++}`)
          messages.push({
            role: 'assistant',
            content: 'a'.repeat(any(300)),
            toolCalls: ids.map((one) => ({ id: one, name: 't', arguments: '{}' })),
          })
          for (const one of ids) messages.push(result(one, 'r'.repeat(any(9000))))
        }
        if (random() < 0.7) messages.push(says('s'.repeat(any(2000))))
      }
      const question = messages.findLast((message) => message.role === 'user')
      const limit = 3000 + any(20_000)
      const after = truncateMessages(messages, limit)
      assertPaired(after)
      expect(after[0]?.role).toBe('user')
      expect(after).toContainEqual(question)
      expect(after.at(-1)?.role).toBe(messages.at(-1)?.role)
      expect(messageTokens(after) * 4).toBeLessThanOrEqual(limit + 4)
    }
  })
})

describe('cutMiddle', () => {
  it('keeps both ends, says how much is missing, and leaves no half characters', () => {
    const text = '🦆'.repeat(500)
    const cut = cutMiddle(text, 201)
    expect(cut.length).toBeLessThan(260)
    expect(cut.isWellFormed()).toBe(true)
    expect(cut).toMatch(/characters were left out here/)
    expect(cutMiddle('short', 201)).toBe('short')
  })
})
