import process from 'node:process'

const isEvery = process.env['WORKER_KILL_POINTS'] === 'all'

/** A write at which the worker is killed. */
export type KillPoint = {
  name: string
  /** Which call of it. */
  nth: number
  /** Whether the database has it when the worker dies: not, yes, or once each way. */
  written: boolean[]
  /** It writes nothing, so there is no other way. */
  isRead?: boolean
}

/**
 * The points of a suite, each write the way that is named: together they are every kind of write. WORKER_KILL_POINTS=all
 * is each write both before and after the database has it.
 */
export function killCases<Point extends KillPoint>(
  points: readonly Point[],
): (Omit<Point, 'written'> & { written: boolean })[] {
  if (!isEvery) console.log('Left out: most writes the other way. Set WORKER_KILL_POINTS=all to run them.')
  return points.flatMap((point) =>
    (isEvery && !point.isRead ? [false, true] : point.written).map((written) => ({ ...point, written })),
  )
}
