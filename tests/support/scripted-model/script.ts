import type { ModelInput, Player } from './server.ts'
import type { Turn } from './turns.ts'

/** A player with what is left of its script. */
export type ScriptPlayer = Player & { remaining: () => number }

/**
 * Plays turns in the order in which requests come, one for each, also for one that a client repeats after a refusal. A
 * turn may be made from the request. After the last one every request fails, once and for good.
 */
export function script(turns: readonly (Turn | ((input: ModelInput) => Turn))[]): ScriptPlayer {
  let next = 0
  const player: Player = (input) => {
    const turn = turns[next]
    if (turn === undefined) throw new Error(`The script has ${turns.length} turns; this is request ${input.number}.`)
    next += 1
    return typeof turn === 'function' ? turn(input) : turn
  }
  return Object.assign(player, { remaining: () => turns.length - next })
}
