import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { startClock } from '../../supabase/functions/_shared/clock.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('expires once, after its time', () => {
  const onExpired = vi.fn()
  startClock(1000, onExpired)
  vi.advanceTimersByTime(999)
  expect(onExpired).not.toHaveBeenCalled()
  vi.advanceTimersByTime(5000)
  expect(onExpired).toHaveBeenCalledTimes(1)
})

it('stands still while anybody has paused it, and goes on with what was left', () => {
  const onExpired = vi.fn()
  const clock = startClock(1000, onExpired)
  vi.advanceTimersByTime(400)
  const first = clock.pause()
  const second = clock.pause()
  vi.advanceTimersByTime(100_000)
  first()
  first()
  vi.advanceTimersByTime(100_000)
  expect(onExpired).not.toHaveBeenCalled()
  second()
  vi.advanceTimersByTime(599)
  expect(onExpired).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(onExpired).toHaveBeenCalledTimes(1)
})

it('does nothing once it is stopped, whoever resumes', () => {
  const onExpired = vi.fn()
  const clock = startClock(1000, onExpired)
  const resume = clock.pause()
  clock.stop()
  resume()
  vi.advanceTimersByTime(10_000)
  expect(onExpired).not.toHaveBeenCalled()
})
