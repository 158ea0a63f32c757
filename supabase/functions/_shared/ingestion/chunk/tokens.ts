// Weights in quarters of a token, from the rule of thumb of four English characters to a token; digits, punctuation
// and scripts that tokenizers split finer weigh more. An estimate, but an additive one: a part never weighs more than the whole.
const QUARTERS = 4

function weight(unit: number): number {
  if (unit < 0x80) {
    const letterOrSpace = unit <= 0x20 || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a)
    return letterOrSpace ? 1 : 2
  }
  if (unit < 0x590) return 2
  if (unit < 0x2e80) return 3
  return unit >= 0xd800 && unit <= 0xdfff ? 3 : 4
}

/** Estimates the number of tokens of any part of one text in constant time. */
export class TokenEstimator {
  private readonly sums: Uint32Array

  constructor(text: string) {
    this.sums = new Uint32Array(text.length + 1)
    for (let index = 0; index < text.length; index++) {
      this.sums[index + 1] = (this.sums[index] as number) + weight(text.charCodeAt(index))
    }
  }

  /** Tokens of `text.slice(start, end)`, rounded up. */
  count(start: number, end: number): number {
    return Math.ceil(((this.sums[end] as number) - (this.sums[start] as number)) / QUARTERS)
  }

  /** The greatest `end` so that `text.slice(start, end)` has at most `limit` tokens. */
  reach(start: number, limit: number): number {
    const most = (this.sums[start] as number) + limit * QUARTERS
    let low = start
    let high = this.sums.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.sums[middle] as number) <= most) low = middle
      else high = middle - 1
    }
    return low
  }
}
