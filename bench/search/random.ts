import { createHash } from 'node:crypto'
import { randomNumbers } from '../support/prose.ts'

export type Random = () => number

/** A stream of numbers in [0, 1) of its own for each purpose and number: what one draws does not shift another. */
export function stream(seed: number, purpose: string, number = 0): Random {
  let hash = 0x811c9dc5 ^ seed
  for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193)
  // Neighbouring numbers must not give neighbouring states (the finalizer of MurmurHash3).
  hash ^= Math.imul(number + 1, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return randomNumbers(hash ^ (hash >>> 16))
}

/** Fills `into` with independent normal deviates, each times the standard deviation at its place (Box and Muller). */
export function fillNormal(random: Random, deviations: Float64Array, into: Float64Array): void {
  for (let i = 0; i < into.length; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()))
    const angle = 2 * Math.PI * random()
    into[i] = radius * Math.cos(angle) * (deviations[i] as number)
    if (i + 1 < into.length) into[i + 1] = radius * Math.sin(angle) * (deviations[i + 1] as number)
  }
}

export const normal = (random: Random, mean: number, deviation: number): number =>
  mean + deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

export const pickFrom = <T>(random: Random, items: readonly T[]): T => items[Math.floor(random() * items.length)] as T

/** Shuffles in place (Fisher and Yates). */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[items[i], items[j]] = [items[j] as T, items[i] as T]
  }
  return items
}

/** Draws indexes with probabilities in proportion to the weights, in constant time (the alias method of Walker and Vose). */
export function weightedIndex(weights: ArrayLike<number>): (random: Random) => number {
  const n = weights.length
  let sum = 0
  for (let i = 0; i < n; i++) sum += weights[i] as number
  const share = Float64Array.from({ length: n }, (_, i) => ((weights[i] as number) * n) / sum)
  const alias = new Int32Array(n)
  const small: number[] = []
  const large: number[] = []
  for (let i = 0; i < n; i++) ((share[i] as number) < 1 ? small : large).push(i)
  while (small.length && large.length) {
    const poor = small.pop() as number
    const rich = large.at(-1) as number
    alias[poor] = rich
    share[rich] = (share[rich] as number) + (share[poor] as number) - 1
    if ((share[rich] as number) < 1) small.push(large.pop() as number)
  }
  for (const rest of [...small, ...large]) share[rest] = 1
  return (random) => {
    const place = random() * n
    const index = Math.floor(place)
    return place - index < (share[index] as number) ? index : (alias[index] as number)
  }
}

/** `count` different indexes, drawn one after another in proportion to the weights; in the order they were drawn. */
export function weightedSample(random: Random, weights: ArrayLike<number>, count: number): number[] {
  // The smallest of exponential deviates with these rates: the same as drawing without putting back.
  const drawn: { index: number; key: number }[] = []
  for (let index = 0; index < weights.length; index++) {
    const key = -Math.log(1 - random()) / (weights[index] as number)
    if (drawn.length === count && key >= (drawn.at(-1) as { key: number }).key) continue
    let place = drawn.length
    while (place > 0 && (drawn[place - 1] as { key: number }).key > key) place--
    drawn.splice(place, 0, { index, key })
    if (drawn.length > count) drawn.pop()
  }
  return drawn.map(({ index }) => index)
}

/**
 * An id that is random in its leading digits, as `gen_random_uuid()` makes them, and ends in `number`, so that it can be
 * told what a result is without a table of ids.
 */
export function uuidOf(purpose: string, number: number): string {
  const hex = createHash('sha1').update(`${purpose}:${number}`).digest('hex')
  const last = number.toString(16).padStart(8, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 24)}${last}`
}

/** The number an id of `uuidOf` ends in. */
export const numberOf = (uuid: string): number => Number.parseInt(uuid.slice(-8), 16)
