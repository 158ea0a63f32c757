// The hooks in components that React renders: as a string on a server, and into a document that follows a run.
import { act, createElement, StrictMode } from 'react'
import type { FunctionComponent, ReactNode } from 'react'
import { renderToString } from 'react-dom/server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SupabaseClient } from '@supabase/supabase-js'
import { useRun, useRunFollower } from '../../client/react.ts'
import { createRunFollower } from '../../client/run-follower.ts'
import type { RunFollower } from '../../client/run-follower.ts'
import { createFakeRun } from './support/fake-run.ts'
import { makeLog, RUN_ID, seeded } from './support/run-logs.ts'
import { installStubDom } from './support/stub-dom.ts'

const Answer: FunctionComponent<{ follower: RunFollower | null }> = ({ follower }) => {
  const run = useRunFollower(follower)
  return createElement('p', null, run === null ? 'no run' : `${run.status}: ${run.content}`)
}

describe('rendered on a server', () => {
  it('the state is the one at that moment, and nothing is followed', () => {
    const log = makeLog(seeded(3), 3)
    const run = createFakeRun(log.rows)
    const follower = createRunFollower(run.transport, RUN_ID)
    expect(renderToString(createElement(Answer, { follower }))).toBe(`<p>${follower.state().status}: </p>`)
    expect(renderToString(createElement(Answer, { follower: null }))).toBe('<p>no run</p>')
    expect(run.listens).toBe(0)
  })

  it('useRun without a run is null, and asks nobody for anything', () => {
    const nobody = new Proxy({}, { get: () => expect.unreachable('nothing is asked') }) as SupabaseClient
    const Idle: FunctionComponent = () => createElement('p', null, String(useRun(nobody, null)))
    expect(renderToString(createElement(Idle))).toBe('<p>null</p>')
  })
})

describe('rendered into a document', () => {
  let createRoot: typeof import('react-dom/client').createRoot
  let screen: ReturnType<typeof installStubDom>
  beforeAll(async () => {
    // React looks for a document when it is loaded.
    screen = installStubDom()
    ;({ createRoot } = await import('react-dom/client'))
  })
  afterAll(() => screen.remove())

  it('shows each change of the run it follows, another run when it is given one, and follows nothing when it is gone', async () => {
    const root = createRoot(screen.container)
    const show = (element: ReactNode) => act(() => root.render(createElement(StrictMode, null, element)))
    const first = makeLog(seeded(4), 3)
    const run = createFakeRun(first.rows)
    const follower = createRunFollower(run.transport, RUN_ID)

    await show(createElement(Answer, { follower }))
    expect(run.isListening()).toBe(true)
    await act(() => run.commit(2))
    const early = screen.text()
    await act(() => run.commit(first.rows.length))
    expect(screen.text()).toBe(`completed: ${first.content}`)
    expect(screen.text()).not.toBe(early)

    // Rendered anew by its parent, it subscribes to nothing anew.
    const { listens } = run
    await show(createElement(Answer, { follower }))
    expect(run.listens).toBe(listens)

    const second = makeLog(seeded(5), 2)
    const other = createFakeRun(second.rows)
    await show(createElement(Answer, { follower: createRunFollower(other.transport, RUN_ID) }))
    expect([run.isListening(), other.isListening()]).toEqual([false, true])
    await act(() => other.commit(second.rows.length))
    expect(screen.text()).toBe(`completed: ${second.content}`)

    await show(createElement(Answer, { follower: null }))
    expect(screen.text()).toBe('no run')
    expect(other.isListening()).toBe(false)
    await act(() => root.unmount())
    expect(screen.text()).toBe('')
  })
})
