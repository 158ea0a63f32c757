import { refusesWhatWasSent } from '../../agent/provider-call.ts'
import { batchesOf } from '../../batches.ts'
import { AppError } from '../../errors.ts'
import type { PageImage } from '../../page-images.ts'
import { classify } from '../failures.ts'
import type { IndexingModel, ShownAnswer } from './strategy.ts'

/** Questions put to the model at once for one document. */
const AT_ONCE = 4
/** What a provider throws that is unwell or busy. */
const UNWELL: string[] = ['upstream_failed', 'upstream_timeout', 'rate_limited']

/** Of a part whose provider failed to the last. */
export const PROVIDER_FAILED = 'provider_failed'

/** What was answered about one part, or the code that says why nothing was. */
export type PartAnswer =
  | { object: Record<string, unknown>; isCut: boolean; shown: readonly PageImage[] }
  | { object: null; code: string }

function codeOf(error: unknown, isLastTry: boolean): string | null {
  if (!(error instanceof AppError) || !UNWELL.includes(error.code)) return null
  if (refusesWhatWasSent(error)) return 'provider_refused'
  return isLastTry && classify(error).status === 'pending' ? PROVIDER_FAILED : null
}

/**
 * Asks about the parts of a document, a few at a time. A part that the provider refuses, or that the model has no usable answer
 * for, goes without; a provider that fails is asked again by a later attempt, and after the last one its parts go without too.
 * @param take gets each answer as soon as it is there.
 * @param atOnce parts that are asked about at once.
 * @throws what is about more than one part: the budget, the lease, a stop, the provider or its settings.
 */
export async function askParts<Part>(
  parts: readonly Part[],
  { isLastTry }: Pick<IndexingModel, 'isLastTry'>,
  signal: AbortSignal,
  ask: (part: Part) => Promise<ShownAnswer>,
  take: (part: Part, answer: PartAnswer) => Promise<void> | void,
  atOnce = AT_ONCE,
): Promise<void> {
  for (const batch of batchesOf(parts, atOnce)) {
    signal.throwIfAborted()
    const outcomes = await Promise.allSettled(
      batch.map(async (part) => {
        const answer = await ask(part).catch((error: unknown) => {
          const code = signal.aborted ? null : codeOf(error, isLastTry)
          if (code === null) throw error
          return { object: null, error: { code }, note: null } as const
        })
        await take(
          part,
          answer.object === null
            ? { object: null, code: answer.error.code }
            : { object: answer.object, isCut: answer.note !== null, shown: answer.shown },
        )
      }),
    )
    // All have ended: what one of them was told is kept, whatever became of another.
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }
}
