import { randomUUID } from 'node:crypto'

type Meta = Record<string, unknown> & { phx_ref: string }

/** Who is present, as clients read it: one list of metas per presence key. */
export type PresenceEntries = Record<string, { metas: Meta[] }>

export type PresenceDiff = { joins: PresenceEntries; leaves: PresenceEntries }

/** Presence of one room. A member (a joined channel) has at most one entry; several members may share a key. */
export class Presence<Member> {
  readonly #present = new Map<Member, { key: string; meta: Meta }>()

  get isEmpty(): boolean {
    return this.#present.size === 0
  }

  /** Adds or replaces a member's entry. A replacement is a leave of the old reference and a join of the new one. */
  track(member: Member, key: string, payload: Record<string, unknown>): PresenceDiff {
    const before = this.#present.get(member)
    const meta: Meta = { ...payload, phx_ref: randomUUID() }
    this.#present.set(member, { key, meta })
    return { joins: { [key]: { metas: [meta] } }, leaves: before ? { [before.key]: { metas: [before.meta] } } : {} }
  }

  /** Removes a member's entry. Returns null when it had none. */
  untrack(member: Member): PresenceDiff | null {
    const before = this.#present.get(member)
    if (!before) return null
    this.#present.delete(member)
    return { joins: {}, leaves: { [before.key]: { metas: [before.meta] } } }
  }

  state(): PresenceEntries {
    // No prototype: a key is chosen by a client and may be `__proto__`.
    const entries = Object.create(null) as PresenceEntries
    for (const { key, meta } of this.#present.values()) (entries[key] ??= { metas: [] }).metas.push(meta)
    return entries
  }
}
