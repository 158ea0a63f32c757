import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Player } from '../../tests/support/scripted-model/index.ts'
import { randomNumbers, sentence } from '../support/prose.ts'

/** An answer in pieces of a word each: sentences, some with the Markdown that models write. */
export function answerPieces(count: number, seed = 7): string[] {
  const random = randomNumbers(seed)
  const pieces: string[] = []
  for (let line = 1; pieces.length < count; line++) {
    const text =
      line % 4 === 0 ? `\n- **Item ${line}:** ${sentence(random)} Which of them is \`open\`?` : sentence(random)
    pieces.push(...(` ${text}`.match(/\s*\S+/g) ?? []))
  }
  return pieces.slice(0, count)
}

/**
 * Plays an answer as fast as it is read, each piece in a write of its own.
 * @param gapMs a pause before each piece instead, as a model makes it
 * @param before awaited before the answer begins
 */
export function play(pieces: readonly string[], gapMs = 0, before?: () => Promise<void>): Player {
  const between = gapMs > 0 ? () => new Promise((resolve) => setTimeout(resolve, gapMs)) : () => nextTurn()
  return () => ({ text: [...pieces], between, ...(before ? { before } : {}) })
}

/** Lets nobody pass until so many wait, or until some have waited too long. */
export function createGate(size: number, limitMs: number): { pass: () => Promise<void>; mostAtOnce: () => number } {
  let waiting = 0
  let most = 0
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return {
    async pass() {
      most = Math.max(most, ++waiting)
      if (waiting === size) open()
      const limit = setTimeout(open, limitMs)
      await opened
      clearTimeout(limit)
    },
    mostAtOnce: () => most,
  }
}
