import { Hono } from 'hono'
import type { Context } from 'hono'
import { z } from 'zod'
import { actsOn, narrowTo } from '../../_shared/context.ts'
import { AppError, describeError, fromPostgrest, missing, toAppError, unwrap } from '../../_shared/errors.ts'
import type { ErrorCode } from '../../_shared/errors.ts'
import { parse, parseLenientBody, uuidParam, warningsField } from '../../_shared/http.ts'
import { RUN_ID_HEADER } from '../../_shared/idempotency.ts'
import { findAgent } from '../../_shared/execution/agent.ts'
import { LOOK_MS, driveRun, goneError } from '../../_shared/execution/drive.ts'
import type { DriveEnd, Viewer } from '../../_shared/execution/drive.ts'
import type { NumberedEvent } from '../../_shared/execution/event-log.ts'
import { completeWithoutLog, farewell } from '../../_shared/execution/last-events.ts'
import type { Farewell } from '../../_shared/execution/last-events.ts'
import { createLogReader } from '../../_shared/execution/log-reader.ts'
import { openRun } from '../../_shared/execution/prepare.ts'
import type { Opened } from '../../_shared/execution/prepare.ts'
import { checkRunRequest, ignoredInRun, runRequest } from '../../_shared/execution/run-request.ts'
import { answerWithStream } from '../../_shared/open-streams.ts'
import { RUN_COLUMNS, citationsOf, presentRun, toolCallsOf } from '../../_shared/run-rows.ts'
import type { RunRow } from '../../_shared/run-rows.ts'
import { background } from '../../_shared/runtime.ts'
import { SSE_HEADERS, createSseChannel } from '../../_shared/sse.ts'
import type { ApiEnv } from '../env.ts'

/** Body of `POST /api/agents/runs/{run_id}/calls/{call_id}/decide`. */
export const callDecisionRequest = z.object({
  decision: z.enum(['retry', 'skip', 'fail'], 'decision must be retry, skip or fail'),
})

/** Milliseconds after which a client whose stream has ended should come back. */
const RETRY_MS = 1000

const runIdOf = (c: Context): string => {
  const runId = c.req.param('run_id') ?? ''
  if (!/^run_[0-9a-f]{12}$/.test(runId)) throw missing('run')
  return runId
}

/**
 * The number of the last event a client has, from `?after=` or the header that browsers send. A client that reconnects by itself
 * repeats its address: then the header is the later of both.
 */
function afterOf(c: Context): number {
  const given = [c.req.query('after'), c.req.header('last-event-id')].filter((number) => number !== undefined)
  if (!given.every((number) => /^\d{1,9}$/.test(number)))
    throw new AppError('invalid_request', 'after must be the number of an event, 0 or more')
  return Math.max(0, ...given.map(Number))
}

/** Everything that can still be answered with an HTTP status: checks, context, opening the run. */
async function open(c: Context<ApiEnv>, streams: boolean) {
  const agentId = uuidParam(c, 'id', 'agent')
  const { body, warnings } = await parseLenientBody(c, runRequest, ignoredInRun)
  checkRunRequest(body, streams)
  const agent = await findAgent(c.var.db, agentId)
  const reader = narrowTo(c, agent.tenant_id)
  return { opened: await openRun(c.var.deps, reader, agent, body, { streams, warnings }), body, warnings }
}

/** Stays with a run to its end, also when its caller hangs up. */
function drive(c: Context<ApiEnv>, opened: Opened, until: number, send: Viewer['send']) {
  const { deps, db, caller } = c.var
  return background(driveRun(deps, opened, { db, caller, send, until }), (error) => {
    deps.log.error('run_crashed', { run_id: opened.run.run_id, error: describeError(error) })
  })
}

/** Says that a stream ends before its run, and after which event to read on: at once, or with another token. */
const streamEnd = (runId: string, after: number, how: DriveEnd) => ({
  event: 'stream_end',
  type: 'stream_end',
  run_id: runId,
  after,
  reason: how === 'unread' ? 'token_expired' : 'time_limit',
})

/** Runs of agents. `/run` is one model call; `/run/stream` goes on in steps while the model calls tools. */
export const runs = new Hono<ApiEnv>()
  .get('/runs/:run_id', actsOn('run', 'run_id'), async (c) => {
    const { data, error } = await c.var.db
      .schema('ai')
      .from('agent_runs')
      .select(RUN_COLUMNS)
      .eq('run_id', runIdOf(c))
      .maybeSingle<RunRow>()
    if (error) throw fromPostgrest(error)
    if (data === null) throw missing('run')
    const [citations, toolCalls] = await Promise.all([
      citationsOf(c.var.db, [data.id]),
      toolCallsOf(c.var.db, [data.id]),
    ])
    return c.json({
      ...presentRun(data, toolCalls.get(data.id) ?? []),
      citations: citations.get(data.id) ?? [],
    })
  })
  .get('/runs/:run_id/stream', actsOn('run', 'run_id'), async (c) => {
    const runId = runIdOf(c)
    let after = afterOf(c)
    const { db, deps } = c.var
    const [found] = unwrap<{ id: string; agent_sessions: { session_id: string } }[]>(
      await db
        .schema('ai')
        .from('agent_runs')
        .select('id,agent_sessions(session_id)')
        .eq('run_id', runId)
        .limit(1)
        .returns<{ id: string; agent_sessions: { session_id: string } }[]>(),
    )
    if (found === undefined) throw missing('run')
    const run = { id: found.id, run_id: runId, session_id: found.agent_sessions.session_id }
    return answerWithStream(c, (ended) => {
      const channel = createSseChannel({ retryMs: RETRY_MS, onEnd: ended })
      let isComplete = false
      const deliver = (event: NumberedEvent) => {
        after = event.seq
        isComplete ||= event.event === 'complete'
        channel.send(event)
      }
      const reader = createLogReader({ db, runId: run.id, after: () => after, deliver, log: deps.log })
      const until = performance.now() + deps.runs.streamLimitMs
      const follow = async () => {
        while (channel.isOpen()) {
          const standing = await reader.look()
          if (standing === 'gone') return farewell(run, goneError()).forEach(channel.send)
          if (standing === 'over') {
            const complete = isComplete ? null : await completeWithoutLog(db, run, after)
            return complete === null ? undefined : channel.send(complete)
          }
          if (standing === 'unread') return channel.send(streamEnd(runId, after, 'unread'))
          if (performance.now() >= until) return channel.send(streamEnd(runId, after, 'time_limit'))
          await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
        }
      }
      void background(follow(), (error) => {
        deps.log.error('stream_crashed', { run_id: runId, error: describeError(error) })
        farewell(run, toAppError(error)).forEach(channel.send)
      }).finally(channel.close)
      return c.body(channel.stream, 200, SSE_HEADERS)
    })
  })
  .post('/runs/:run_id/cancel', actsOn('run', 'run_id'), async (c) => {
    const cancelled = unwrap<{ run_id: string; status: string }>(
      await c.var.db.schema('ai').rpc('cancel_run', { run_id: runIdOf(c) }),
    )
    return c.json(cancelled)
  })
  .post('/runs/:run_id/calls/:call_id/decide', actsOn('run', 'run_id'), async (c) => {
    const runId = runIdOf(c)
    const { body, warnings } = await parseLenientBody(c, callDecisionRequest)
    const callId = parse(z.string().min(1).max(200), c.req.param('call_id'))
    const decided = unwrap<{ run_id: string; status: string }>(
      await c.var.db
        .schema('ai')
        .rpc('decide_interrupted_call', { run_id: runId, call_id: callId, decision: body.decision }),
    )
    return c.json({ ...decided, ...warningsField(warnings) })
  })
  .post('/:id/run', actsOn('agent'), async (c) => {
    const { opened, body, warnings } = await open(c, false)
    const { run } = opened
    const ids = { run_id: run.run_id, session_id: run.session_id }
    const later = (status: string) => c.json({ ...ids, status, ...warningsField(warnings) }, 202)
    // From its beginning in the queue.
    if (body.background === true) return later('pending')
    const { deps } = c.var
    const events = new Map<string, NumberedEvent | Farewell>()
    const driven = drive(c, opened, performance.now() + deps.runs.streamLimitMs, (event) => {
      if (['start', 'error', 'complete'].includes(event.event)) events.set(event.event, event)
    })
    let timer: ReturnType<typeof setTimeout> | undefined
    const patience = new Promise<DriveEnd>((resolve) => {
      timer = setTimeout(() => resolve('time_limit'), deps.runs.streamLimitMs)
    })
    const end = await Promise.race([driven, patience]).finally(() => clearTimeout(timer))
    const complete = events.get('complete')
    if ((end === 'time_limit' || end === 'unread') && complete === undefined) return later('running')
    if (end === 'gone') throw new AppError(complete?.['code'] as ErrorCode, String(complete?.['error']))
    // Whatever it was told then is of a stream, and the run may be carried on elsewhere.
    if (end === undefined || complete === undefined) {
      const failure = { error: 'Something went wrong.', code: 'internal', ...ids, request_id: c.var.requestId }
      return c.json(failure, 500, { [RUN_ID_HEADER]: run.run_id })
    }
    const { event: _event, type: _type, seq: _seq, ts: _ts, steps: _steps, tool_calls: _calls, ...answer } = complete
    const candidates = events.get('start')?.['citation_candidates']
    return c.json({ ...answer, ...(candidates === undefined ? {} : { citation_candidates: candidates }) })
  })
  .post('/:id/run/stream', actsOn('agent'), (c) =>
    answerWithStream(c, async (ended) => {
      const { opened } = await open(c, true)
      const channel = createSseChannel({ onEnd: ended })
      const limitMs = c.var.deps.runs.streamLimitMs
      let after = 0
      const end = (how: DriveEnd) => {
        channel.send(streamEnd(opened.run.run_id, after, how))
        channel.close()
      }
      // The run may go on here for longer than its stream.
      const timer = setTimeout(() => end('time_limit'), limitMs)
      const driven = drive(c, opened, performance.now() + limitMs, (event) => {
        after = event.seq ?? after
        channel.send(event)
      })
      void driven.then((how) => {
        clearTimeout(timer)
        if (how === 'time_limit' || how === 'unread') end(how)
        channel.close()
      })
      return c.body(channel.stream, 200, { ...SSE_HEADERS, [RUN_ID_HEADER]: opened.run.run_id })
    }),
  )
