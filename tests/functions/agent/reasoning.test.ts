import { expect, it } from 'vitest'
import { reasoningField, thinkingTime, thoughtsOf } from '../../../supabase/functions/_shared/agent/reasoning.ts'

it('counts from each first piece of reasoning to the text after it, or to the last piece', () => {
  let now = 1000
  const clock = thinkingTime(() => now)
  clock.spoke()
  expect(clock.ms()).toBe(0)
  clock.thought()
  now += 300
  clock.thought()
  expect(clock.ms()).toBe(300)
  now += 200
  clock.spoke()
  now += 5000
  clock.spoke()
  expect(clock.ms()).toBe(500)
  clock.thought()
  now += 40.4
  clock.thought()
  now += 9000
  expect(clock.ms()).toBe(540)
})

it('keeps no thoughts of a turn without any, and no time of one that was journalled before times were', () => {
  expect(thoughtsOf({ step: 1, reasoning: '', reasoning_ms: 0 })).toEqual([])
  expect(thoughtsOf({ step: 2, reasoning: 'Hm.', reasoning_ms: 7 })).toEqual([
    { step: 2, content: 'Hm.', duration_ms: 7 },
  ])
  expect(thoughtsOf({ step: 2, reasoning: 'Hm.' })).toEqual([{ step: 2, content: 'Hm.' }])
})

it('says of a step that it was to reason only where it was', () => {
  expect(reasoningField({ reasoningEffort: 'low' })).toEqual({ reasoning_requested: true })
  expect(reasoningField({})).toEqual({})
})
