// The hook's store: what useSyncExternalStore asks of it, and what it renders.
import { createElement, useSyncExternalStore } from 'react'
import type { FunctionComponent } from 'react'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { createRunFollower } from '../../client/run-follower.ts'
import type { RunFollower } from '../../client/run-follower.ts'
import { useRun, useRunFollower } from '../../client/react.ts'
import type { RunState } from '../../client/run-reducer.ts'
import { createFakeRun } from './support/fake-run.ts'
import { makeLog, RUN_ID, seeded } from './support/run-logs.ts'

describe('the store of useRun', () => {
  it('gives the same snapshot until something changes, and tells of each change', () => {
    const log = makeLog(seeded(1), 3)
    const run = createFakeRun(log.rows)
    const { subscribe, state } = createRunFollower(run.transport, RUN_ID)
    expect(state()).toBe(state())
    const seen: RunState[] = []
    const stop = subscribe(() => seen.push(state()))
    run.commit(log.rows.length)
    expect(seen.at(-1)).toMatchObject({ status: 'completed', content: log.content })
    expect(new Set(seen).size).toBe(seen.length)
    expect(state()).toBe(seen.at(-1))
    stop()
  })

  it('is mounted twice by React’s strict mode: subscribed, unsubscribed and subscribed again', () => {
    const log = makeLog(seeded(2), 3)
    const run = createFakeRun(log.rows)
    const { subscribe, state } = createRunFollower(run.transport, RUN_ID)
    subscribe(() => undefined)()
    let changes = 0
    const onChange = () => changes++
    const stops = [subscribe(onChange), subscribe(onChange)]
    run.commit(2)
    expect(changes).toBe(4)
    stops[0]?.()
    stops[0]?.()
    run.commit(1)
    expect(changes).toBe(5)
    expect(run.isListening()).toBe(true)
    stops[1]?.()
    expect(run.isListening()).toBe(false)
    expect(state().seq).toBe(3)
  })

  it('fits into a component', () => {
    expectTypeOf(useRunFollower).parameter(0).toEqualTypeOf<RunFollower | null>()
    expectTypeOf<ReturnType<typeof useRun>>().toEqualTypeOf<RunState | null>()
    expectTypeOf(useSyncExternalStore<RunState>)
      .parameter(0)
      .toExtend<(onChange: () => void) => () => void>()
    const Answer: FunctionComponent<{ follower: RunFollower }> = ({ follower }) =>
      createElement('p', null, useRunFollower(follower)?.content)
    // Outside a renderer hooks refuse to work: the component is one, and reaches the hook.
    const follower = createRunFollower(createFakeRun([]).transport, RUN_ID)
    expect(() => Answer({ follower })).toThrow(/null|hook/i)
  })
})
