/** Ids in one request: they stand in its address, and servers refuse long ones. */
const AT_ONCE = 100

/** The rows of all these ids, asked for some at a time. @throws what `read` throws */
export async function rowsOf<Row>(
  ids: readonly string[],
  read: (some: string[]) => PromiseLike<readonly Row[]>,
): Promise<Row[]> {
  const parts: PromiseLike<readonly Row[]>[] = []
  for (let at = 0; at < ids.length; at += AT_ONCE) parts.push(read(ids.slice(at, at + AT_ONCE)))
  return (await Promise.all(parts)).flat()
}
