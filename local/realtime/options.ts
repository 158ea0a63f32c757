/** What an operator may tune. `null` switches a limit off; the counting limits are off by default on a local stack. */
export type RealtimeLimits = {
  /** Largest frame a client may send, in bytes; a larger one closes the socket with 1009. */
  maxFrameBytes: number
  /** Largest broadcast or presence payload, in bytes. */
  maxPayloadBytes: number
  /** A socket from which no frame came for this long is closed. */
  idleTimeoutMs: number
  /** Bytes that may wait for one slow subscriber before its socket is cut. */
  maxBufferedBytes: number
  /** How long a refused join waits for its answer. The hosted service waits 5000. */
  joinRefusalDelayMs: number
  /** How long a refused connection waits for its answer. The hosted service waits 2000. */
  connectRefusalDelayMs: number
  /** A private channel's verdict older than this is probed again before anything is delivered or accepted on it. */
  verdictMaxAgeMs: number
  /** How often the verdicts of all private channels are looked at, so that an idle revoked channel is closed too. */
  recheckIntervalMs: number
  /** How often partitions are created ahead and dropped behind. */
  upkeepIntervalMs: number
  /** How long a stopping gateway waits for clients to answer the close frame. */
  stopTimeoutMs: number
  sockets: number | null
  channelsPerSocket: number | null
  /** Averaged over a minute: one per publish and one per socket that receives it. */
  eventsPerSecond: number | null
  /** Averaged over a minute. */
  joinsPerSecond: number | null
  /** Presence calls of one channel in 30 seconds. */
  presenceCallsPer30s: number | null
  /** Refuses public channels, as the project setting of the same meaning does. */
  privateOnly: boolean
}

export const DEFAULT_LIMITS: RealtimeLimits = {
  maxFrameBytes: 5_000_000,
  maxPayloadBytes: 3_000_500,
  idleTimeoutMs: 60_000,
  maxBufferedBytes: 8_000_000,
  joinRefusalDelayMs: 0,
  connectRefusalDelayMs: 0,
  verdictMaxAgeMs: 1_000,
  recheckIntervalMs: 4_000,
  upkeepIntervalMs: 4 * 3_600_000,
  stopTimeoutMs: 1_000,
  sockets: null,
  channelsPerSocket: null,
  eventsPerSecond: null,
  joinsPerSecond: null,
  presenceCallsPer30s: null,
  privateOnly: false,
}

/** Events with ids and counts, never payloads or tokens. */
export type RealtimeLog = { warn: (event: string, fields: Record<string, unknown>) => void }

export const consoleLog: RealtimeLog = {
  warn: (event, fields) => console.warn(`realtime: ${event}`, JSON.stringify(fields)),
}
