import type { Database } from '../database/database.ts'
import { ProbeUnavailable, type Authorizer, type Caller, type ReadVerdict } from './authorization.ts'
import type { Channel } from './channel.ts'
import type { RealtimeLog } from './options.ts'

/** Even an unchanged database may answer differently later: a policy can look at the clock. */
const QUIET_LIMIT_MS = 60_000

/** The channels whose verdict is older than `maxAgeMs`. */
export const staleChannels = (channels: Iterable<Channel>, maxAgeMs: number): Channel[] =>
  [...channels].filter((channel) => performance.now() - channel.checkedAt > maxAgeMs)

/**
 * Probes channels again and closes those that may no longer read. Upstream keeps a verdict until the token changes, so
 * a removed member would go on listening; this is a deliberate difference.
 * Channels of the same caller on the same topic share one probe. Returns how many probes were made.
 */
export const freshen = async (authorizer: Authorizer, channels: Channel[]): Promise<number> => {
  const groups = new Map<string, { channel: Channel; caller: Caller }[]>()
  for (const channel of channels) {
    const { caller, name, presenceEnabled } = channel
    const key = JSON.stringify([name, presenceEnabled, caller.claims, caller.headers])
    groups.set(key, [...(groups.get(key) ?? []), { channel, caller }])
  }
  // One after the other: on a single database session a burst of probes would hold up everybody else.
  for (const members of groups.values()) {
    const first = members[0]
    if (!first) continue
    const askedAt = performance.now()
    let verdict: ReadVerdict | null = null
    try {
      verdict = await authorizer.mayRead(first.caller, first.channel.name, first.channel.presenceEnabled)
    } catch (error) {
      if (!(error instanceof ProbeUnavailable)) throw error
    }
    for (const { channel, caller } of members) {
      // A channel whose token changed meanwhile had its own probe.
      if (channel.isClosed || channel.caller !== caller) continue
      if (verdict === null) channel.breakOff()
      else channel.confirm(verdict, askedAt)
    }
  }
  return groups.size
}

/** Transactions begun and ended so far. Two equal snapshots mean that nothing was written in between. */
type Snapshot = { xmin: bigint; xmax: bigint }

/**
 * Looks at every private channel now and then, so that an idle one is closed as well when its right is gone.
 * It costs one small read while the database is quiet: a probe takes exactly one transaction number, so a round in
 * which the numbers advanced by our own probes only saw the newest state, and the next one can be left out.
 */
export class RecheckLoop {
  readonly #db: Database
  readonly #authorizer: Authorizer
  readonly #channels: () => Channel[]
  readonly #log: RealtimeLog
  #timer: NodeJS.Timeout | undefined
  #quietSince: { snapshot: Snapshot; at: number } | null = null
  #closed = false
  #round: Promise<void> = Promise.resolve()

  constructor(deps: { db: Database; authorizer: Authorizer; channels: () => Channel[]; log: RealtimeLog }) {
    this.#db = deps.db
    this.#authorizer = deps.authorizer
    this.#channels = deps.channels
    this.#log = deps.log
  }

  start(intervalMs: number): void {
    const next = (): void => {
      if (this.#closed) return
      this.#timer = setTimeout(() => {
        this.#round = this.run()
          .catch((error: unknown) => this.#log.warn('recheck_failed', { error: String(error) }))
          .then(next)
      }, intervalMs)
      this.#timer.unref()
    }
    next()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#round
  }

  /** One round: probes every private channel unless nothing was written since the last one. Returns the probes made. */
  async run(): Promise<number> {
    const channels = this.#channels()
    if (channels.length === 0) return 0
    const before = await this.#snapshot()
    if (this.#isQuiet(before)) return 0
    const probes = await freshen(this.#authorizer, channels)
    const after = await this.#snapshot()
    const nothingOpen = before.xmin === before.xmax && after.xmin === after.xmax
    const onlyProbes = after.xmax - before.xmax === BigInt(probes)
    this.#quietSince = nothingOpen && onlyProbes ? { snapshot: after, at: performance.now() } : null
    return probes
  }

  #isQuiet({ xmin, xmax }: Snapshot): boolean {
    const quiet = this.#quietSince
    if (quiet === null || performance.now() - quiet.at > QUIET_LIMIT_MS) return false
    return xmin === quiet.snapshot.xmin && xmax === quiet.snapshot.xmax
  }

  async #snapshot(): Promise<Snapshot> {
    const rows = await this.#db.query<{ xmin: string; xmax: string }>(
      `select pg_snapshot_xmin(snapshot)::text as xmin, pg_snapshot_xmax(snapshot)::text as xmax
       from pg_current_snapshot() as snapshot`,
    )
    return { xmin: BigInt(rows[0]?.xmin ?? 0), xmax: BigInt(rows[0]?.xmax ?? 0) }
  }
}
