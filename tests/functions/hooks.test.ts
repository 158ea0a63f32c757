import { describe, expect, it, vi } from 'vitest'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { createHooks } from '../../supabase/functions/_shared/hooks/engine.ts'
import type { HookDeps, PostJson } from '../../supabase/functions/_shared/hooks/engine.ts'
import type { HookEvent, HookRow } from '../../supabase/functions/_shared/hooks/types.ts'
import type { Permissions } from '../../supabase/functions/_shared/hooks/permissions.ts'
import type { StartedRun } from '../../supabase/functions/_shared/runs.ts'

type Decision = { status: string; reason: string | null } | null

function hooksWith(
  rows: Partial<HookRow>[],
  parts: { postJson?: PostJson; decisions?: Decision[]; isAnnounced?: boolean } = {},
) {
  const events: Record<string, unknown>[] = []
  const stop = new AbortController()
  const decisions = [...(parts.decisions ?? [])]
  const requestApproval = vi.fn(() =>
    Promise.resolve({
      approval_id: 'approval',
      expires_at: '2027-01-01T00:00:00Z',
      input_hash: 'hash',
      is_announced: parts.isAnnounced ?? false,
    }),
  )
  const deps = {
    hooks: rows.map((row, index) => ({
      id: `hook-${index}`,
      event: 'PreToolUse' as HookEvent,
      matcher: null,
      type: 'rule' as const,
      config: {},
      position: 0,
      ...row,
    })),
    emit: (event: string, fields: Record<string, unknown>) => void events.push({ event, ...fields }),
    log: { info: () => {}, error: () => {} },
    postJson: parts.postJson ?? (() => Promise.reject(new Error('not asked'))),
    ledger: {
      requestApproval,
      approvalOutcome: () => Promise.resolve(decisions.length > 1 ? decisions.shift() : decisions[0]),
    },
    run: { id: 'run', run_id: 'run_0123456789ab', lease_token: 'lease' } as StartedRun,
    signal: stop.signal,
    permissions: (() => ({ permission: 'allow', rule: {} })) as Permissions,
  } as unknown as HookDeps
  return { hooks: createHooks(deps), events, stop, requestApproval }
}
const call = (data: Record<string, unknown> = { query: 'select 1' }) => ({
  event: 'PreToolUse' as const,
  tool_name: 'database_query',
  data,
})

describe('rules', () => {
  it('refuse by the first that holds, and say so in an event', async () => {
    const { hooks, events } = hooksWith([
      { config: { condition: 'tool_input.query CONTAINS drop', message: 'No drops.' } },
      { config: { condition: 'tool_name IN database_query', message: 'Never reached.' } },
    ])
    expect(await hooks.run(call({ query: 'DROP table' }))).toMatchObject({ blocked: 'No drops.' })
    expect(events).toEqual([
      expect.objectContaining({ event: 'hook_result', hook_id: 'hook-0', blocked: true, message: 'No drops.' }),
    ])
  })

  it('let through what they do not hold for, and tools they do not match', async () => {
    const { hooks } = hooksWith([
      { config: { condition: 'tool_input.query CONTAINS drop', message: 'No.' } },
      { matcher: 'http_request', config: { condition: 'tool_name IN database_query', message: 'No.' } },
    ])
    expect((await hooks.run(call())).blocked).toBeNull()
  })

  it('that cannot be read refuse', async () => {
    const { hooks } = hooksWith([{ config: { condition: 'nonsense' } }])
    expect((await hooks.run(call())).blocked).toMatch(/could not be applied/)
  })
})

describe('http hooks', () => {
  it('change the input, are asked in the order of their positions, and see what the one before made of it', async () => {
    const seen: unknown[] = []
    const postJson: PostJson = (url, body) => {
      seen.push((body as { data: unknown }).data)
      return Promise.resolve({
        status: 200,
        json: url === 'https://one/' ? { action: 'allow', modified_input: { query: 'select 2' } } : { action: 'allow' },
      })
    }
    const { hooks } = hooksWith(
      [
        { type: 'http', config: { url: 'https://two/' }, position: 2 },
        { type: 'http', config: { url: 'https://one/' }, position: 1 },
      ],
      { postJson },
    )
    expect((await hooks.run(call())).modifiedInput).toEqual({ query: 'select 2' })
    expect(seen).toEqual([{ query: 'select 1' }, { query: 'select 2' }])
  })

  it('change no argument that is settled', async () => {
    const postJson: PostJson = () =>
      Promise.resolve({ status: 200, json: { modified_input: { query: 'select 2', limit: 9 } } })
    const { hooks } = hooksWith([{ type: 'http', config: { url: 'https://x/' } }], { postJson })
    const verdict = await hooks.run(call({ query: 'select 1', limit: 5 }), {
      id: 'c1',
      rule: null,
      settled: { limit: 5 },
    })
    expect(verdict.modifiedInput).toEqual({ query: 'select 2', limit: 5 })
  })

  it('deny where their event may be refused, and only there', async () => {
    const postJson: PostJson = () => Promise.resolve({ status: 200, json: { action: 'deny', message: 'No.' } })
    const denying = (event: HookEvent) =>
      hooksWith([{ type: 'http', event, config: { url: 'https://x/' } }], { postJson })
    expect((await denying('PreToolUse').hooks.run(call())).blocked).toBe('No.')
    for (const event of ['PostToolUse', 'OnRunComplete'] as const) {
      const verdict = await denying(event).hooks.run({ event, tool_name: null, data: {} })
      expect(verdict.blocked, event).toBeNull()
    }
  })

  it.each([
    ['an error status', () => Promise.resolve({ status: 500, json: { action: 'deny' } })],
    ['no JSON object', () => Promise.resolve({ status: 200, json: 'deny' })],
    ['a broken connection', () => Promise.reject(new Error('gone'))],
  ])('that fail with %s let the call through and say so', async (_, postJson) => {
    const { hooks, events } = hooksWith([{ type: 'http', config: { url: 'https://x/' } }], { postJson })
    expect((await hooks.run(call())).blocked).toBeNull()
    expect(events).toEqual([expect.objectContaining({ status: 'failed', blocked: false })])
  })

  it.each([
    ['after 5 s where nothing else is said', {}, 5000],
    ['after the time of their own', { timeout: 0.2 }, 200],
    ['after 5 s at most, whatever is stored', { timeout: 60 }, 5000],
    ['after 5 s where what is stored is no time', { timeout: 'x' }, 5000],
  ])('that do not answer are given up %s, let the call through and say so', async (_when, config, limitMs) => {
    const limits: number[] = []
    // The limit as it is asked for, and none of the waiting.
    const clock = vi.spyOn(AbortSignal, 'timeout').mockImplementation((milliseconds) => {
      limits.push(milliseconds)
      return AbortSignal.abort(new DOMException('Time is up.', 'TimeoutError'))
    })
    try {
      const postJson: PostJson = (_url, _body, signal) =>
        new Promise((_resolve, reject) => {
          const giveUp = () => reject(signal.reason as Error)
          if (signal.aborted) giveUp()
          else signal.addEventListener('abort', giveUp)
        })
      const rows = [{ type: 'http' as const, config: { url: 'https://x/', ...config } }]
      const { hooks, events } = hooksWith(rows, { postJson })
      expect(await hooks.run(call())).toMatchObject({ blocked: null, modifiedInput: null })
      expect(events).toEqual([
        expect.objectContaining({ event: 'hook_result', status: 'timed_out', blocked: false, modified: false }),
      ])
    } finally {
      clock.mockRestore()
    }
    expect(limits).toEqual([limitMs])
  })

  it('whose request is given up below say that their time was up as well', async () => {
    const postJson: PostJson = () => Promise.reject(new AppError('upstream_timeout', 'The server took too long.'))
    const { hooks, events } = hooksWith([{ type: 'http', config: { url: 'https://x/' } }], { postJson })
    expect((await hooks.run(call())).blocked).toBeNull()
    expect(events).toEqual([expect.objectContaining({ status: 'timed_out', blocked: false })])
  })
})

describe('approvals', () => {
  const gate = [{ type: 'approval' as const, config: { message: 'Really?' } }]
  const asked = { id: 'call-1', rule: null }

  it('suspend the run while nobody has decided', async () => {
    const { hooks, events, requestApproval } = hooksWith(gate, { decisions: [{ status: 'pending', reason: null }] })
    await expect(hooks.run(call(), asked)).rejects.toMatchObject({ reason: 'approval', callId: 'call-1' })
    expect(requestApproval).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({
        callId: 'call-1',
        toolName: 'database_query',
        toolInput: { query: 'select 1' },
        rule: { expires_in_seconds: 300 },
      }),
    )
    expect(events).toEqual([
      {
        event: 'approval_requested',
        run_id: 'run_0123456789ab',
        approval_id: 'approval',
        call_id: 'call-1',
        tool_name: 'database_query',
        tool_input: { query: 'select 1' },
        input_hash: 'hash',
        message: 'Really?',
        expires_at: '2027-01-01T00:00:00Z',
      },
    ])
  })

  it('let the call through when it goes on and somebody has approved, without asking in the log again', async () => {
    const decisions = [{ status: 'approved', reason: null }]
    const { hooks, events } = hooksWith(gate, { decisions, isAnnounced: true })
    expect(await hooks.run(call(), asked)).toMatchObject({ blocked: null, approved: true })
    expect(events.map(({ event }) => event)).toEqual(['hook_result'])
  })

  it.each([
    [{ status: 'denied', reason: 'Not today' }, 'Denied by user: Not today'],
    [{ status: 'denied', reason: null }, 'Denied by user: no reason given'],
    [{ status: 'expired', reason: null }, 'Approval timed out'],
    [{ status: 'used', reason: null }, 'The approval of this call was used before'],
  ])('that end %o refuse the call', async (decision, message) => {
    const { hooks } = hooksWith(gate, { decisions: [decision] })
    expect(await hooks.run(call(), asked)).toMatchObject({ blocked: message, approved: false })
  })

  it('of a tool that has a rule of its own are under that rule', async () => {
    const { hooks, requestApproval } = hooksWith([{ type: 'approval', config: { timeout: 5 } }], {
      decisions: [{ status: 'approved', reason: null }],
    })
    await hooks.run(call(), { id: 'call-1', rule: { role: 'admin', four_eyes: true } })
    expect(requestApproval).toHaveBeenCalledExactlyOnceWith(
      expect.objectContaining({ rule: { role: 'admin', four_eyes: true } }),
    )
  })

  it('are for the call that was shown: another one under its id is refused', async () => {
    const { hooks, requestApproval } = hooksWith(gate, { decisions: [{ status: 'approved', reason: null }] })
    requestApproval.mockRejectedValue(new AppError('conflict', 'Another call.'))
    expect(await hooks.run(call(), asked)).toMatchObject({
      blocked: 'The call is not the one a person was asked about',
    })
  })

  it('count for what was shown only: a call that is changed behind them is refused', async () => {
    const behind = (input: object) => {
      const postJson: PostJson = () => Promise.resolve({ status: 200, json: { modified_input: input } })
      return hooksWith([...gate, { type: 'http', config: { url: 'https://x/' }, position: 1 }], {
        postJson,
        decisions: [{ status: 'approved', reason: null }],
      })
    }
    const changed = behind({ query: 'select 3' })
    expect(await changed.hooks.run(call(), asked)).toMatchObject({
      approved: false,
      blocked: 'The call was changed after a person had approved it',
      blockedBy: 'hook-1',
    })
    expect(changed.events.at(-1)).toMatchObject({ event: 'hook_result', hook_id: 'hook-1', blocked: true })
    const same = behind({ query: 'select 1' })
    expect(await same.hooks.run(call(), asked)).toMatchObject({ approved: true, blocked: null, modifiedInput: null })
    expect(same.events.at(-1)).toMatchObject({ hook_id: 'hook-1', modified: false, blocked: false })
  })

  it('are not asked for once the run is stopped, and end with its lease', async () => {
    const stopped = hooksWith(gate, { decisions: [{ status: 'approved', reason: null }] })
    stopped.stop.abort(new Error('stopped'))
    await expect(stopped.hooks.run(call(), asked)).rejects.toThrow('stopped')
    expect(stopped.requestApproval).not.toHaveBeenCalled()
    const lost = hooksWith(gate, { decisions: [null] })
    await expect(lost.hooks.run(call(), asked)).rejects.toMatchObject({ code: 'conflict' })
  })
})

describe('what hooks have answered about a call', () => {
  const setUp = (changes: { url?: string; status?: number } = {}) => {
    const posted: unknown[] = []
    const postJson: PostJson = (_url, body) => {
      posted.push(body)
      return Promise.resolve({
        status: changes.status ?? 200,
        json: { modified_input: { query: 'select 2', limit: 1 } },
      })
    }
    const { hooks, events } = hooksWith(
      [
        { type: 'http', config: { url: changes.url ?? 'https://one/' }, position: 1 },
        { config: { condition: 'tool_input.query CONTAINS drop', message: 'No.' }, position: 2 },
      ],
      { postJson },
    )
    return { hooks, events, posted }
  }
  /** What is kept, as the database gives it back: with the keys of objects in an order of its own. */
  const stored = (value: unknown) =>
    JSON.parse(
      JSON.stringify(value, (_key, part: unknown) =>
        typeof part === 'object' && part !== null && !Array.isArray(part)
          ? Object.fromEntries(Object.entries(part).reverse())
          : part,
      ),
    ) as unknown[]
  const ask = async (world: ReturnType<typeof setUp>, past: unknown[] = [], query = 'select 1') => {
    let kept = past
    const memory = { past, keep: (checks: unknown[]) => void (kept = stored(checks)) }
    const verdict = await world.hooks.run(call({ query }), { id: 'c', rule: null, memory })
    return { verdict, kept }
  }

  it('is their answer when the same is asked again: nothing is sent or told twice', async () => {
    const first = setUp()
    const before = await ask(first)
    expect([first.posted, first.events].map(({ length }) => length)).toEqual([1, 2])
    const again = setUp()
    const after = await ask(again, before.kept)
    expect(after.verdict).toEqual(before.verdict)
    expect(after.verdict.modifiedInput).toEqual({ query: 'select 2', limit: 1 })
    expect([again.posted, again.events]).toEqual([[], []])
  })

  it('counts for no other call, no hook that has been changed, and not when it was a failure', async () => {
    const { kept } = await ask(setUp())
    const other = setUp()
    await ask(other, kept, 'select 3')
    expect(other.posted).toHaveLength(1)
    const changed = setUp({ url: 'https://another/' })
    await ask(changed, kept)
    expect(changed.posted).toHaveLength(1)
    const failure = await ask(setUp({ status: 500 }))
    const recovered = setUp()
    await ask(recovered, failure.kept)
    expect(recovered.posted).toHaveLength(1)
  })
})
