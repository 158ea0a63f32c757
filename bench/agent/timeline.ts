/** Text that passed a point: when, and how many characters had passed by then, itself included. */
export type Passage = { at: number; chars: number }

/** Notes when text passes. */
export class Timeline {
  readonly passages: Passage[] = []

  add(text: string, at: number): void {
    this.passages.push({ at, chars: this.chars + text.length })
  }

  /** Characters that have passed. */
  get chars(): number {
    return this.passages.at(-1)?.chars ?? 0
  }

  /** When the first text passed. @throws when none has. */
  get first(): number {
    return at(this.passages, 0).at
  }

  /** When the last text passed. @throws when none has. */
  get last(): number {
    return at(this.passages, this.passages.length - 1).at
  }
}

function at(passages: readonly Passage[], index: number): Passage {
  const passage = passages[index]
  if (!passage) throw new Error('No text has passed.')
  return passage
}

/**
 * How long each piece of text took from one point to another, in the unit of the times; whole pieces, so the last of its
 * characters counts. `held`: pieces of which something came only after the next one had gone in.
 * @throws when the text that came out is not as long as the one that went in.
 */
export function delaysBetween(before: Timeline, after: Timeline): { delays: number[]; held: number } {
  if (before.chars !== after.chars) throw new Error(`${before.chars} characters went in, ${after.chars} came out.`)
  const delays: number[] = []
  let held = 0
  let out = 0
  before.passages.forEach((piece, index) => {
    while (at(after.passages, out).chars < piece.chars) out++
    const arrived = at(after.passages, out).at
    delays.push(arrived - piece.at)
    const next = before.passages[index + 1]
    if (next && arrived >= next.at) held++
  })
  return { delays, held }
}
