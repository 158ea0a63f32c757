/** Ids per request: more would make the URL too long for some proxies. */
export const IDS_PER_REQUEST = 100

/** A list in parts of at most `size`, in its order. */
export function batchesOf<Item>(items: readonly Item[], size: number): Item[][] {
  const batches: Item[][] = []
  for (let from = 0; from < items.length; from += size) batches.push(items.slice(from, from + size))
  return batches
}

/** What `read` gives for a list of ids, so many at a time, one request after the other. @throws what `read` throws. */
export async function readByIds<Row>(
  ids: readonly string[],
  read: (batch: string[]) => Promise<readonly Row[]>,
): Promise<Row[]> {
  const rows: Row[] = []
  for (const batch of batchesOf(ids, IDS_PER_REQUEST)) rows.push(...(await read(batch)))
  return rows
}
