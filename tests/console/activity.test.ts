// What the screen of a run makes of its events; no browser is needed for that.
import { describe, expect, it } from 'vitest'
import type { RunEvent } from '../../client/index.ts'
import { activityOf } from '../../web/src/screens/runs/activity.ts'

const inStep = (step: number, event: string, fields: object = {}): RunEvent => ({ event, step, ...fields })

describe('the activity of a run', () => {
  it('shows at its step which model took over, what it was not given, and how it failed', () => {
    const { steps } = activityOf([
      inStep(1, 'step_started'),
      inStep(1, 'step_completed', { finish_reason: 'tool_calls' }),
      inStep(2, 'step_started'),
      inStep(2, 'step_reset', { reason: 'rate_limit' }),
      inStep(2, 'model_fallback', { from: 'one', to: 'two' }),
      inStep(2, 'reasoning_dropped_at_provider_switch', { from_provider: 'openai', to_provider: 'vendor' }),
      inStep(2, 'error', { error: 'No answer.', message: 'No answer.', code: 'upstream_failed' }),
      inStep(2, 'step_completed', { finish_reason: 'error' }),
      { event: 'error', error: 'No answer.', message: 'No answer.', code: 'upstream_failed', run_id: 'run_1' },
      { event: 'complete', status: 'failed', error: 'No answer.' },
    ])
    expect(steps.map(({ step, notes, finishReason }) => [step, finishReason, notes.map(({ text }) => text)])).toEqual([
      [1, 'tool_calls', []],
      [
        2,
        'error',
        [
          'The provider was busy, the step began again',
          'The model one failed, two took its place',
          'What was reasoned so far was not handed on to it',
          // Once: that of the run is shown with the run.
          'The model failed: No answer.',
        ],
      ],
    ])
  })
})
