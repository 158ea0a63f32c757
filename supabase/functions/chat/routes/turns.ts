import { Hono } from 'hono'
import { z } from 'zod'
import { narrowTo, resolveCaller } from '../../_shared/context.ts'
import { describeError, unwrap } from '../../_shared/errors.ts'
import { parseBody, uuid } from '../../_shared/http.ts'
import { answerWithStream } from '../../_shared/open-streams.ts'
import { background } from '../../_shared/runtime.ts'
import { SSE_HEADERS, createSseChannel } from '../../_shared/sse.ts'
import type { ChatEnv } from '../env.ts'
import { runTurn, tellCrash } from '../turn.ts'
import type { OpenTurn } from '../turn.ts'

/** Body of `POST /chat`. */
export const turnRequest = z.strictObject({
  /** Absent: a new session. */
  session_id: uuid.nullish(),
  /** Absent: the session's agent, or the tenant's default one. */
  agent_id: uuid.nullish(),
  /** Absent: the agent's knowledge bases; empty: no retrieval. */
  knowledge_base_ids: z.array(uuid).max(20).nullish(),
  message: z
    .string('message is required')
    .max(20_000, 'message may have at most 20000 characters')
    .refine((text) => text.trim() !== '', 'message is required'),
})

/** Questions, each answered as an event stream. */
export const turns = new Hono<ChatEnv>().post('/', async (c) => {
  const body = await parseBody(c, turnRequest)
  await resolveCaller(c, body.agent_id ? 'agent' : undefined, body.agent_id ?? undefined)
  return answerWithStream(c, async (ended) => {
    const turn = unwrap<OpenTurn>(
      await c.var.db.rpc('begin_chat_turn', {
        session_id: body.session_id ?? null,
        agent_id: body.agent_id ?? null,
        message: body.message,
      }),
    )
    const { deps, requestId } = c.var
    const left = new AbortController()
    // Whatever else the asker may see, the answer draws on the session's tenant only.
    const context = {
      deps,
      ...narrowTo(c, turn.tenant_id),
      turn,
      message: body.message,
      agentSessionId: `${turn.session_id}:${turn.agent_id}`,
      knowledgeBaseIds: body.knowledge_base_ids ?? null,
      requestId,
      left: left.signal,
    }
    const onEnd = () => {
      ended()
      left.abort()
    }
    const channel = createSseChannel({ onEnd })
    // In the background: an asker who leaves still finds the answer in the session.
    void background(runTurn(context, channel.send), (error) => {
      deps.log.error('turn_crashed', { request_id: requestId, error: describeError(error) })
      tellCrash(turn, error, channel.send)
    }).finally(channel.close)
    return c.body(channel.stream, 200, SSE_HEADERS)
  })
})
