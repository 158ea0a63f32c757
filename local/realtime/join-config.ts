import { randomUUID } from 'node:crypto'
import { z } from 'zod'

/** Clients in other languages send booleans as strings. */
const flag = z
  .union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')])
  .nullish()
  .transform((value) => value ?? false)

const joinPayload = z.object({
  config: z
    .object({
      private: flag,
      broadcast: z.object({ ack: flag, self: flag, replication_ready: flag, replay: z.unknown().optional() }).nullish(),
      presence: z.object({ enabled: flag, key: z.string().nullish() }).nullish(),
      postgres_changes: z.array(z.unknown()).nullish(),
    })
    .nullish(),
  access_token: z.string().nullish(),
  /** Older name of `access_token`. */
  user_token: z.string().nullish(),
})

const replayRequest = z.object({ since: z.number().int().nonnegative(), limit: z.number().int().nullish() })

/** Most messages a replay gives, as upstream. */
const REPLAY_LIMIT = 25

export type JoinConfig = {
  isPrivate: boolean
  ack: boolean
  self: boolean
  /** The client wants a `system` message once messages from the database reach it. */
  replicationReady: boolean
  /** `since` in milliseconds since the epoch, `limit` 1 to 25. */
  replay: { since: number; limit: number } | null
  presence: { enabled: boolean; key: string }
  token: string | null
}

/** A join that is answered with an error; the message is its `reason`. */
export class JoinRefused extends Error {}

const parseReplay = (value: unknown, isPrivate: boolean): JoinConfig['replay'] => {
  if (value === undefined || value === null) return null
  if (!isPrivate) throw new JoinRefused('UnableToReplayMessages: Replay is not allowed for public channels')
  const replay = replayRequest.safeParse(value)
  if (!replay.success) throw new JoinRefused('UnableToReplayMessages: Replay params are not valid')
  const { since, limit } = replay.data
  return { since, limit: Math.min(Math.max(limit ?? REPLAY_LIMIT, 1), REPLAY_LIMIT) }
}

/**
 * Reads the payload of `phx_join`. Upstream lets a field it cannot read fall back to its default, so that an unreadable
 * `private` opens a public channel; here that is an error.
 * @throws JoinRefused
 */
export const parseJoin = (payload: unknown): JoinConfig => {
  const parsed = joinPayload.safeParse(payload)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new JoinRefused(
      `InvalidJoinPayload: ${issue?.path.join('.') || 'payload'}: ${issue?.message ?? 'unreadable'}`,
    )
  }
  const { config, access_token: accessToken, user_token: userToken } = parsed.data
  const isPrivate = config?.private ?? false
  if ((config?.postgres_changes ?? []).length > 0) {
    throw new JoinRefused(
      'RealtimeDisabledForConfiguration: postgres_changes is not available on the local gateway; use broadcast from the database',
    )
  }
  const { ack = false, self = false, replication_ready: replicationReady = false, replay } = config?.broadcast ?? {}
  return {
    isPrivate,
    ack,
    self,
    replicationReady,
    replay: parseReplay(replay, isPrivate),
    presence: { enabled: config?.presence?.enabled ?? false, key: config?.presence?.key || randomUUID() },
    token: accessToken || userToken || null,
  }
}
