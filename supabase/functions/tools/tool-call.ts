import type { Context } from 'hono'
import { readJson } from '../_shared/body.ts'
import type { Caller, Db } from '../_shared/context.ts'
import { AppError } from '../_shared/errors.ts'
import { TOOL_TOKEN_HEADER, sha256 } from '../_shared/tool-tokens.ts'
import type { ToolsEnv } from './env.ts'

/** A call that is what it says: made by an agent of this project, for this person, with these arguments. */
export type VerifiedCall = {
  userId: string
  /** The JSON body. */
  body: unknown
  /** A client with the person's own rights in the tenant of the run, for minutes. */
  db: Db
}

/**
 * Verifies the call of a tool and uses its token up.
 * @param tool name of the tool this endpoint is.
 * @throws AppError `unauthenticated` when the token is absent, forged, expired, another tool's, made for another body or
 * used before; `rate_limited`; the errors of `readJson`; `unavailable` when keys or database cannot be reached.
 */
export async function receiveCall(c: Context<ToolsEnv>, tool: string): Promise<VerifiedCall> {
  const { deps } = c.var
  const claims = await deps.verifyToolToken(c.req.header(TOOL_TOKEN_HEADER))
  if (claims.tool !== tool) throw new AppError('unauthenticated', 'The tool token is for another tool.')
  // Calls of agents have a bucket of their own: they take nothing from what the person may ask.
  await deps.rateLimiter?.take({ subject: 'tool', userId: claims.userId, tenantId: claims.tenantId })
  // Parsed from a copy, because the hash is that of the bytes.
  const copy = c.req.raw.clone()
  const body = await readJson(copy)
  const bytes = new Uint8Array(await c.req.raw.arrayBuffer())
  if ((await sha256(bytes)) !== claims.argumentsHash) {
    throw new AppError('unauthenticated', 'The tool token was made for another body.')
  }
  if (!(await deps.burnToolCallToken(claims.jti, claims.expiresAt))) {
    throw new AppError('unauthenticated', 'The tool token has been used before.')
  }
  const { userId, tenantId, agentId, runId } = claims
  const act = { sub: 'agent', agent_id: agentId, run_id: runId }
  const { token } = await deps.delegation.mint({ sub: userId, tenantId, act })
  const caller: Caller = { userId, token, tenantId }
  return { userId, body, db: deps.clientFor(caller) }
}
