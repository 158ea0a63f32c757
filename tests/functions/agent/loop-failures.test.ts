import { describe, expect, it } from 'vitest'
import { createAnswerFilter } from '../../../supabase/functions/_shared/answer-filter.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { ChatEvent } from '../../../supabase/functions/_shared/providers/index.ts'
import {
  assertWellFormed,
  call,
  done,
  fakeTool,
  only,
  runScript,
  say,
  scriptedModel,
  shownText,
  think,
} from './support/loop-fakes.ts'

const limited = () => new AppError('rate_limited', 'The model provider refuses more requests for now.')
const broken = () => new AppError('upstream_failed', 'The connection to the model provider broke off.')
const slow = () => new AppError('upstream_timeout', 'The model provider stopped sending.')
const unauthorised = () =>
  new AppError('upstream_failed', 'The model provider refused the request (HTTP 401).', { cause: { status: 401 } })

describe('a model call that fails', () => {
  it.each([
    ['rate_limit', limited()],
    ['model_error', broken()],
    ['model_error', slow()],
    ['model_error', new AppError('upstream_failed', 'HTTP 503', { cause: { status: 503 } })],
  ])('is repeated, and its text taken back (%s)', async (reason, error) => {
    const model = scriptedModel([[think('hm'), say('Half an ans'), error], [say('A whole answer.')]])
    const { result, events } = await runScript(model)
    expect(only(events, 'step_reset')).toEqual([{ event: 'step_reset', step: 1, step_number: 1, reason, off: 0 }])
    expect(result).toMatchObject({ status: 'completed', content: 'A whole answer.', reasoning: [] })
    expect(shownText(events)).toBe('A whole answer.')
    expect(only(events, 'step_started')).toHaveLength(1)
    assertWellFormed(events)
  })

  it('says where in the whole text the part begins that is taken back', async () => {
    const model = scriptedModel([
      [say('Let me look. 🦆'), call('t')],
      [say('Half'), broken()],
      [say('Half an'), broken()],
      [say('Done.')],
    ])
    const { result, events } = await runScript(model, [fakeTool('t')])
    expect(only(events, 'step_reset').map((event) => event['off'])).toEqual([15, 15])
    expect(result.content).toBe('Let me look. 🦆\n\nDone.')
  })

  it('forgets its calls too: none is made', async () => {
    const tool = fakeTool('t')
    const { result, events } = await runScript(scriptedModel([[call('t'), broken()], [say('x')]]), [tool])
    expect(tool.received).toEqual([])
    expect(only(events, 'tool_call')).toEqual([])
    expect(result.status).toBe('completed')
  })

  it('makes no call of an answer that breaks off for good', async () => {
    const tool = fakeTool('t')
    const { result, events } = await runScript(scriptedModel([[say('x'), call('t'), unauthorised()]]), [tool])
    expect(tool.received).toEqual([])
    expect(result).toMatchObject({ status: 'failed', content: 'x', toolCalls: [] })
    assertWellFormed(events)
  })

  it('gives up after three new tries and keeps what came last', async () => {
    const model = scriptedModel((_request, at) => [say(`Try ${at}`), broken()])
    const { result, events } = await runScript(model)
    expect(model.requests).toHaveLength(4)
    expect(only(events, 'step_reset')).toHaveLength(3)
    expect(result).toMatchObject({
      status: 'failed',
      content: 'Try 3',
      error: 'The connection to the model provider broke off.',
      errorCode: 'upstream_failed',
      steps: [{ finish_reason: 'error' }],
    })
    expect(shownText(events)).toBe('Try 3')
    assertWellFormed(events)
  })

  it('for good is told within its step, after what it had said: an error, once', async () => {
    const script = [[call('t')], [think('hm'), say('Half'), broken()], [think('so'), say('Half an'), unauthorised()]]
    const { result, events } = await runScript(scriptedModel(script), [fakeTool('t')])
    const kinds = events.map(({ event }) => event)
    expect(kinds.slice(kinds.lastIndexOf('step_reset'))).toEqual([
      ...['step_reset', 'reasoning_delta', 'content_delta', 'reasoning', 'error', 'step_completed'],
    ])
    const message = 'The model provider refused the request (HTTP 401).'
    expect(only(events, 'error')).toEqual([
      { event: 'error', step: 2, step_number: 2, error: message, message, code: 'upstream_failed' },
    ])
    expect(result).toMatchObject({ status: 'failed', error: message, errorCode: 'upstream_failed' })
    assertWellFormed(events)
  })

  it('and is repeated is no error within the step, nor is what else ends a run', async () => {
    const repeated = await runScript(scriptedModel([[say('Half'), broken()], [say('Whole.')]]))
    expect(only(repeated.events, 'error')).toEqual([])
    const looping = await runScript(
      scriptedModel(() => [call('t')]),
      [fakeTool('t')],
    )
    expect(looping.result).toMatchObject({ status: 'failed', errorCode: 'doom_loop' })
    expect(only(looping.events, 'error')).toEqual([])
    const controller = new AbortController()
    controller.abort(new AppError('conflict', 'The run was ended elsewhere.'))
    const stopped = await runScript(scriptedModel([[say('x')]]), [], { signal: controller.signal })
    expect(stopped.result).toMatchObject({ status: 'failed', errorCode: 'conflict' })
    expect(only(stopped.events, 'error')).toEqual([])
  })

  it('is not repeated when the provider would refuse it again', async () => {
    const model = scriptedModel([[unauthorised()]])
    const { result, events } = await runScript(model, [], { fallbackModel: 'model-b' })
    expect(model.requests).toHaveLength(1)
    expect(only(events, 'step_reset')).toEqual([])
    expect(result).toMatchObject({ status: 'failed', errorCode: 'upstream_failed' })
  })

  it('ends the run in a result, whatever was thrown, without telling what', async () => {
    const { result, logged } = await runScript(scriptedModel([[new TypeError('secret detail')]]))
    expect(result).toMatchObject({ status: 'failed', errorCode: 'internal', error: 'Something went wrong.' })
    expect(logged).toContain('secret detail')
  })

  it('counts a stream that ends without a word as broken', async () => {
    const model = scriptedModel([])
    const quiet = { ...model, async *stream(): AsyncGenerator<ChatEvent> {} }
    const { result } = await runScript(quiet)
    expect(result).toMatchObject({ status: 'failed', errorCode: 'upstream_failed' })
  })

  it('ends in a result even when what the loop is given fails', async () => {
    const { result, logged } = await runScript(scriptedModel([[say('x')]]), [], {
      textFilter: () => {
        throw new Error('no filter')
      },
    })
    expect(result).toMatchObject({ status: 'failed', errorCode: 'internal' })
    expect(logged).toContain('no filter')
  })

  it('keeps earlier steps when a later one fails for good', async () => {
    const tool = fakeTool('t')
    const model = scriptedModel((_request, at) => (at === 0 ? [say('First.'), call('t')] : [unauthorised()]))
    const { result, events } = await runScript(model, [tool])
    expect(result).toMatchObject({ status: 'failed', content: 'First.', toolCalls: [{ tool_name: 't' }] })
    expect(result.steps).toHaveLength(2)
    assertWellFormed(events)
  })

  it('keeps the halves of a filtered text apart: what a try held back does not turn up in the next', async () => {
    const model = scriptedModel([[say('see http'), broken()], [say('s://evil.example')]])
    const { result, events } = await runScript(model, [], {
      textFilter: () => createAnswerFilter({ keys: null, knownTexts: [] }),
    })
    expect(result.content).toBe('s://evil.example')
    expect(shownText(events)).toBe(result.content)
  })
})

describe('the fallback model', () => {
  it('takes over at once and stays for the rest of the run', async () => {
    const model = scriptedModel((request, at) => {
      if (request.model === undefined) return [say('Half'), limited()]
      return at === 1 ? [call('t')] : [say('Done.')]
    })
    const { result, events } = await runScript(model, [fakeTool('t')], { fallbackModel: 'model-b' })
    expect(model.requests.map((request) => request.model)).toEqual([undefined, 'model-b', 'model-b'])
    const kinds = events.map(({ event }) => event)
    expect(kinds.slice(1, 4)).toEqual(['content_delta', 'step_reset', 'model_fallback'])
    expect(only(events, 'model_fallback')).toEqual([
      { event: 'model_fallback', step: 1, step_number: 1, from: 'model-a', to: 'model-b' },
    ])
    expect(result.steps.map((step) => step.model)).toEqual(['model-b', 'model-b'])
    expect(result).toMatchObject({ status: 'completed', content: 'Done.' })
  })

  it('is not given what was reasoned so far, which is told once it takes over', async () => {
    const switching = (first: ChatEvent[], more: object = {}) =>
      runScript(
        scriptedModel([...first.map((event) => [event, call('t')]), [limited()], [say('Done.')]]),
        [fakeTool('t')],
        {
          fallbackModel: 'model-b',
          ...more,
        },
      )
    const { events } = await switching([think('hm')])
    const kinds = events.map(({ event }) => event)
    const at = kinds.indexOf('model_fallback')
    expect(kinds.slice(at - 1, at + 2)).toEqual([
      ...['step_reset', 'model_fallback', 'reasoning_dropped_at_provider_switch'],
    ])
    const event = 'reasoning_dropped_at_provider_switch'
    const both = { event, step: 2, step_number: 2 }
    expect(only(events, event)).toEqual([{ ...both, from_provider: 'scripted', to_provider: 'scripted' }])
    // A gateway's models say who serves them.
    const named = await switching([think('hm')], {
      fallbackModel: 'else/model-b',
      request: { model: 'some/model-a', system: '', messages: [], context: [], citations: false },
    })
    expect(only(named.events, event)).toEqual([{ ...both, from_provider: 'some', to_provider: 'else' }])
    // Nothing was reasoned: nothing is lost.
    expect(only((await switching([say('One.')])).events, event)).toEqual([])
  })

  it('is not given what was reasoned in the try that failed either', async () => {
    const model = scriptedModel([[think('hm'), limited()], [say('Done.')]])
    const { events } = await runScript(model, [], { fallbackModel: 'model-b' })
    expect(only(events, 'reasoning_dropped_at_provider_switch')).toHaveLength(1)
    const again = scriptedModel([[think('hm'), limited()], [say('Done.')]])
    const { events: same } = await runScript(again, [])
    expect(only(same, 'reasoning_dropped_at_provider_switch')).toEqual([])
  })

  it('is not waited for', async () => {
    const model = scriptedModel([[limited()], [say('x')]])
    const { result } = await runScript(model, [], { fallbackModel: 'model-b', retryDelaysMs: [3_600_000] })
    expect(result.content).toBe('x')
  })

  it('is tried again like any other, and is no endless chain', async () => {
    const model = scriptedModel(() => [limited()])
    const { result, events } = await runScript(model, [], { fallbackModel: 'model-b' })
    expect(model.requests).toHaveLength(4)
    expect(only(events, 'model_fallback')).toHaveLength(1)
    expect(result).toMatchObject({ status: 'failed', errorCode: 'rate_limited' })
  })

  it('is not announced when it is the same model', async () => {
    const model = scriptedModel([[limited()], [say('x')]])
    const { result, events } = await runScript(model, [], { fallbackModel: 'model-a' })
    expect(only(events, 'model_fallback')).toEqual([])
    expect(result.status).toBe('completed')
  })
})

describe('an answer that was cut off', () => {
  it('is continued, in the same step, and reads as one', async () => {
    const model = scriptedModel([[say('One, '), done('length')], [say('two, '), done('length')], [say('three.')]])
    const { result, events } = await runScript(model)
    expect(only(events, 'output_recovery')).toEqual([
      { event: 'output_recovery', step: 1, step_number: 1, attempt: 1 },
      { event: 'output_recovery', step: 1, step_number: 1, attempt: 2 },
    ])
    expect(model.requests[2]?.messages.slice(-2)).toEqual([
      { role: 'assistant', content: 'One, two, ' },
      { role: 'user', content: 'Continue exactly where you stopped. Repeat nothing.' },
    ])
    expect(result).toMatchObject({ status: 'completed', content: 'One, two, three.' })
    expect(result.steps).toMatchObject([{ finish_reason: 'stop', usage: { total_tokens: 39 } }])
    expect(only(events, 'step_reset')).toEqual([])
    assertWellFormed(events)
  })

  it('is continued three times at most', async () => {
    const model = scriptedModel(() => [say('la '), done('length')])
    const { result } = await runScript(model)
    expect(model.requests).toHaveLength(4)
    expect(result).toMatchObject({ status: 'completed', content: 'la la la la ', steps: [{ finish_reason: 'length' }] })
  })

  it('leaves no trace of the request to go on in later steps', async () => {
    const model = scriptedModel([[say('Let me '), done('length')], [say('look.'), call('t')], [say('Done.')]])
    const { result } = await runScript(model, [fakeTool('t')])
    expect(model.requests[2]?.messages.map((message) => message.content)).toEqual(['Hello?', 'Let me look.', 'ok'])
    expect(result.content).toBe('Let me look.\n\nDone.')
  })

  it('is filtered as one text over the seam', async () => {
    const model = scriptedModel([[say('see ht'), done('length')], [say('tps://evil.example')]])
    const { result } = await runScript(model, [], {
      textFilter: () => createAnswerFilter({ keys: null, knownTexts: [] }),
    })
    expect(result.content).toBe('see hxxps://evil.example')
  })

  it('begins again from nothing when the continuation fails', async () => {
    const model = scriptedModel([[say('One, '), done('length')], [say('tw'), broken()], [say('All.')]])
    const { result, events } = await runScript(model)
    expect(result.content).toBe('All.')
    expect(shownText(events)).toBe('All.')
    expect(model.requests[2]?.messages).toHaveLength(1)
  })

  it('in the middle of a call is told to the model, not carried out', async () => {
    const tool = fakeTool('t')
    const model = scriptedModel([[call('t', '{"text":"abc'), done('length')], [say('x')]])
    const { result } = await runScript(model, [tool])
    expect(tool.received).toEqual([])
    expect(result.toolCalls[0]?.result).toContain('cut off')
  })
})

describe('a run that is stopped', () => {
  const abortable = () => {
    const controller = new AbortController()
    return { signal: controller.signal, stop: (reason?: unknown) => controller.abort(reason) }
  }

  it('before it begins asks no model', async () => {
    const { signal, stop } = abortable()
    stop(new AppError('conflict', 'The run was ended elsewhere.'))
    const model = scriptedModel([[say('x')]])
    const { result, events } = await runScript(model, [], { signal })
    expect(model.requests).toEqual([])
    expect(result).toMatchObject({ status: 'failed', error: 'The run was ended elsewhere.', errorCode: 'conflict' })
    assertWellFormed(events)
  })

  it('while the model hangs ends at once and keeps the text so far', async () => {
    const { signal, stop } = abortable()
    const hanging = {
      ...scriptedModel([]),
      async *stream(): AsyncGenerator<ChatEvent> {
        yield say('So far')
        setTimeout(() => stop(new AppError('upstream_timeout', 'The run took too long.')))
        await new Promise(() => {})
      },
    }
    const { result, events } = await runScript(hanging, [], { signal })
    expect(result).toMatchObject({ status: 'failed', content: 'So far', errorCode: 'upstream_timeout' })
    expect(only(events, 'step_reset')).toEqual([])
    assertWellFormed(events)
  })

  it('while tools run gives every announced call its result and begins no other', async () => {
    const { signal, stop } = abortable()
    const hanging = fakeTool('hang', () => new Promise(() => {}), { isConcurrencySafe: true })
    const stopper = fakeTool(
      'stop',
      async () => {
        setTimeout(stop)
        return { text: 'done' }
      },
      { isConcurrencySafe: true },
    )
    const later = fakeTool('later')
    const turn = [call('hang', {}, 'c1'), call('stop', {}, 'c2'), call('later', {}, 'c3')]
    const { result, events } = await runScript(scriptedModel([turn]), [hanging, stopper, later], { signal })
    expect(later.received).toEqual([])
    expect(only(events, 'tool_call').map((event) => event['call_id'])).toEqual(['c1', 'c2'])
    expect(only(events, 'tool_result').map((event) => [event['call_id'], event['is_error']])).toEqual([
      ['c2', false],
      ['c1', true],
    ])
    expect(result).toMatchObject({ status: 'failed', error: 'The run was stopped.', errorCode: 'conflict' })
    assertWellFormed(events)
  })

  it('does not begin calls that were announced but had to wait', async () => {
    const { signal, stop } = abortable()
    let begun = 0
    const tool = fakeTool(
      't',
      async () => {
        if (++begun === 8) stop()
        return new Promise(() => {})
      },
      { isConcurrencySafe: true },
    )
    const turn = Array.from({ length: 20 }, (_, n) => call('t', { n }))
    const { events } = await runScript(scriptedModel([turn]), [tool], { signal })
    expect(begun).toBe(8)
    expect(only(events, 'tool_result')).toHaveLength(20)
    assertWellFormed(events)
  })

  it('while a person is asked answers the call and makes it not', async () => {
    const { signal, stop } = abortable()
    const tool = fakeTool('t')
    const { result, events } = await runScript(scriptedModel([[call('t')]]), [tool], {
      signal,
      gates: {
        beforeTool: () => {
          setTimeout(stop)
          return new Promise(() => {})
        },
      },
    })
    expect(tool.received).toEqual([])
    expect(result.toolCalls[0]).toMatchObject({
      is_error: true,
      result: 'The run was stopped before this call was made.',
    })
    assertWellFormed(events)
  })

  it('while it waits for a new try does not wait on', async () => {
    const { signal, stop } = abortable()
    const model = scriptedModel((_request, at) => {
      if (at === 0) setTimeout(stop)
      return [limited()]
    })
    const { result } = await runScript(model, [], { signal, retryDelaysMs: [3_600_000] })
    expect(model.requests).toHaveLength(1)
    expect(result).toMatchObject({ status: 'failed', errorCode: 'conflict' })
  })
})
