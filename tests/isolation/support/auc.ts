/**
 * How well one number tells two groups apart: the share of pairs in which the member of the first group has the larger one,
 * ties counting half, turned so that 0.5 is a coin and 1 is certainty whichever group has the larger numbers.
 */
export function auc(first: number[], second: number[]): number {
  const all = [...first.map((value) => ({ value, first: true })), ...second.map((value) => ({ value, first: false }))]
  all.sort((x, y) => x.value - y.value)
  let rankSum = 0
  for (let start = 0; start < all.length; ) {
    let end = start
    while (end < all.length && all[end]!.value === all[start]!.value) end++
    const rank = (start + 1 + end) / 2
    for (let i = start; i < end; i++) if (all[i]!.first) rankSum += rank
    start = end
  }
  const share = (rankSum - (first.length * (first.length + 1)) / 2) / (first.length * second.length)
  return Math.max(share, 1 - share)
}
