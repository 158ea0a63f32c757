/** A repeatable source of random numbers in [0, 1): mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296
  }
}

/** A text cut into pieces of 0 to `longest` UTF-16 units, also inside surrogate pairs. */
export function cut(text: string, random: () => number, longest = 5): string[] {
  const pieces: string[] = []
  for (let at = 0; at < text.length; ) {
    const length = Math.floor(random() * (longest + 1))
    pieces.push(text.slice(at, at + length))
    at += length
  }
  return pieces
}

/** Pieces of a vocabulary, joined at random. */
export function babble(vocabulary: readonly string[], count: number, random: () => number): string {
  let text = ''
  for (let i = 0; i < count; i++) text += vocabulary[Math.floor(random() * vocabulary.length)]
  return text
}
