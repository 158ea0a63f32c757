import { AppError } from '../errors.ts'

/** Why a run was stopped, as an error whose text the person may read. */
export function stopReason(signal: AbortSignal): AppError {
  return signal.reason instanceof AppError ? signal.reason : new AppError('conflict', 'The run was stopped.')
}

/**
 * The promise, or a rejection as soon as the signal is aborted: nothing that forgets to look at its signal can hold up the
 * end of a run. What it would have given later is dropped.
 * @throws the reason of `stopReason`.
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(stopReason(signal))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    if (onAbort) signal.removeEventListener('abort', onAbort)
  }
}

/** The items of a source, ending with a rejection as soon as the signal is aborted. @throws as `untilAborted`. */
export async function* itemsUntilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const items = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const item = await untilAborted(items.next(), signal)
      if (item.done) return
      yield item.value
    }
  } finally {
    // Not awaited: a source that hangs would hold up whoever closes it.
    items.return?.().catch(() => {})
  }
}

/** Waits. @throws as `untilAborted`. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    await untilAborted(new Promise<void>((resolve) => (timer = setTimeout(resolve, ms))), signal)
  } finally {
    clearTimeout(timer)
  }
}
