import { describe, expect, test } from 'vitest'
import { createAdaptivePlaces, type AdaptivePlaces } from '../../worker/adaptive-places.ts'

const MOST = 8
const CALLS = { delegate: 4, append: 8, finish: 15 }

/** A clock, and a limit that goes by it. */
function makeLimit() {
  let time = 0
  return { limit: createAdaptivePlaces(MOST, () => time), pass: (ms: number) => (time += ms) }
}

/** Numbers from 0 to 1, the same in each run. */
function numbers(seed: number): () => number {
  let state = seed
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
}

/**
 * Calls for so many seconds, each as many times slower than its best as `slowness` says of the places taken, give or take a
 * fifth; one in a hundred meets the machine while it does nothing else. Returns the limits after each tenth of a second.
 */
function spend(
  { limit, pass }: ReturnType<typeof makeLimit>,
  seconds: number,
  slowness: (places: number) => number,
  random = numbers(1),
): number[] {
  const seen: number[] = []
  for (let tenth = 0; tenth < seconds * 10; tenth++) {
    for (let call = 0; call < limit.allowed(); call++) {
      const [kind, ms] = Object.entries(CALLS)[Math.floor(random() * 3)] ?? ['append', 8]
      const times = random() < 0.01 ? 1 : slowness(limit.allowed()) * (0.8 + 0.4 * random())
      limit.observe(kind, ms * times)
    }
    pass(100)
    seen.push(limit.allowed())
  }
  return seen
}

const calm = () => 1.8
/** A machine that `places` runs fill: calls take the longer, the less of it is left. */
const machineFor = (places: number) => (taken: number) => 1.8 / Math.max(0.05, 1 - taken / (places + 1))

describe('the limit', () => {
  test('is all places to begin with, and while calls take what they usually take', () => {
    const made = makeLimit()
    expect(made.limit.allowed()).toBe(MOST)
    expect(new Set(spend(made, 300, calm))).toEqual(new Set([MOST]))
  })

  test.each([
    [1, 2, 2],
    [4, 2, 3],
    [8, 2, 4],
    [100, 8, 8],
  ])('on a machine that %i runs fill it settles between %i and %i, and stays', (capacity, least, most) => {
    const made = makeLimit()
    spend(made, 30, machineFor(capacity))
    for (const places of spend(made, 300, machineFor(capacity))) {
      expect(places).toBeGreaterThanOrEqual(least)
      expect(places).toBeLessThanOrEqual(most)
    }
  })

  test('changes rarely once it has settled', () => {
    const made = makeLimit()
    spend(made, 30, machineFor(4))
    const seen = spend(made, 100, machineFor(4))
    const changes = seen.filter((places, at) => at > 0 && places !== seen[at - 1]).length
    expect(changes).toBeLessThan(30)
  })

  test('comes back when what kept the machine busy is over', () => {
    const made = makeLimit()
    spend(made, 20, () => 10)
    expect(made.limit.allowed()).toBe(2)
    expect(spend(made, 20, calm).at(-1)).toBe(MOST)
  })

  test('takes a machine that has become slower for good for what it is, after two minutes', () => {
    const made = makeLimit()
    spend(made, 10, calm)
    const slower = (taken: number) => 5 * calm() + 0 * taken
    // None of its calls is as fast as before.
    const onlySlow = numbers(7)
    const random = () => 0.01 + 0.99 * onlySlow()
    expect(spend(made, 20, slower, random).at(-1)).toBeLessThan(MOST / 2)
    expect(spend(made, 140, slower, random).at(-1)).toBe(MOST)
  })

  test('grows by few calls as well: of one long run that only beats', () => {
    const made = makeLimit()
    spend(made, 20, () => 10)
    for (let beat = 0; beat < 100; beat++) {
      made.limit.observe('beat', 5)
      made.pass(700)
    }
    expect(made.limit.allowed()).toBe(MOST)
  })

  test.each([1, 2, 3, 4, 5])('is never less than two nor more than all, whatever calls take (%i)', (seed) => {
    const made = makeLimit()
    const random = numbers(seed)
    const seen: number[] = []
    for (let at = 0; at < 20_000; at++) {
      made.limit.observe(random() < 0.5 ? 'a' : 'b', random() < 0.1 ? 0 : 10 ** (6 * random() - 2))
      made.pass(random() * 300)
      seen.push(made.limit.allowed())
    }
    expect(Math.min(...seen)).toBeGreaterThanOrEqual(2)
    expect(Math.max(...seen)).toBeLessThanOrEqual(MOST)
    expect(seen.every(Number.isInteger)).toBe(true)
  })
})

test('one place is one, however fast calls are', () => {
  let time = 0
  const limit: AdaptivePlaces = createAdaptivePlaces(1, () => time)
  for (let call = 0; call < 100; call++, time += 100) limit.observe('a', call % 2 === 0 ? 1 : 50)
  expect(limit.allowed()).toBe(1)
})
