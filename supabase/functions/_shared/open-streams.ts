import type { Context } from 'hono'
import type { AppEnv } from './context.ts'
import { AppError } from './errors.ts'

/** Counts the event streams that each caller has open at this instance. */
export type OpenStreams = {
  /**
   * Takes a place; the result gives it back, once.
   * @param who whose stream it is.
   * @throws AppError `rate_limited` when all of theirs are taken.
   */
  take(who: { subject: 'user' | 'backend'; userId: string }): () => void
}

/** A trusted backend speaks for many people. */
const BACKEND_FACTOR = 10
/** Seconds after which somebody who was refused may try again. */
const RETRY_AFTER = 10

/**
 * Each stream that follows a run asks the database several times a second, for as long as it is open, so the requests of a minute do
 * not bound what one person keeps busy.
 * @param most streams of one person at once.
 * @returns null when there is no limit (`most` 0).
 */
export function createOpenStreams(most: number): OpenStreams | null {
  if (most === 0) return null
  const open = new Map<string, number>()
  return {
    take({ subject, userId }) {
      const key = `${subject} ${userId}`
      const count = open.get(key) ?? 0
      if (count >= (subject === 'backend' ? most * BACKEND_FACTOR : most)) {
        throw new AppError('rate_limited', 'Too many open streams.', {
          hint: 'Close one that is not read any more, then try again.',
          extra: { retry_after: RETRY_AFTER },
        })
      }
      open.set(key, count + 1)
      let isTaken = true
      return () => {
        if (!isTaken) return
        isTaken = false
        const left = (open.get(key) ?? 1) - 1
        if (left === 0) open.delete(key)
        else open.set(key, left)
      }
    },
  }
}

/**
 * Answers with an event stream that takes a place for as long as it is open.
 * @param begin opens the stream; what it is given is to be called when the stream has ended, by either side.
 * @throws AppError `rate_limited` when the caller has too many; what `begin` throws, with the place given back.
 */
export async function answerWithStream(
  c: Context,
  begin: (ended: () => void) => Response | Promise<Response>,
): Promise<Response> {
  const { deps, identity, caller } = c.var as AppEnv['Variables']
  // A backend that acts for a person comes out of that person's.
  const isBackend = identity.kind === 'service' && c.req.header('x-act-as-user') === undefined
  const ended = deps.openStreams?.take({ subject: isBackend ? 'backend' : 'user', userId: caller.userId }) ?? (() => {})
  try {
    return await begin(ended)
  } catch (error) {
    ended()
    throw error
  }
}
