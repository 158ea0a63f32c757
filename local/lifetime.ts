/** Undoes what was started, in reverse order, once. */
export interface Lifetime {
  readonly ending: boolean
  /** Aborted when the end begins. */
  readonly signal: AbortSignal
  /** Registers what undoes a step that has just been taken. If the end has begun meanwhile, it is undone at once. */
  onEnd(undo: () => unknown): Promise<void>
  /** Undoes everything; a failing step is reported and does not keep the others from being undone. */
  end(): Promise<void>
}

export function createLifetime(report: (error: unknown) => void): Lifetime {
  const steps: (() => unknown)[] = []
  let ended: Promise<void> | null = null
  const ends = new AbortController()
  const undo = async (step: () => unknown) => {
    try {
      await step()
    } catch (error) {
      report(error)
    }
  }
  return {
    get ending() {
      return ended !== null
    },
    signal: ends.signal,
    async onEnd(step) {
      if (ended) await undo(step)
      else steps.push(step)
    },
    end() {
      ends.abort()
      ended ??= (async () => {
        for (let step = steps.pop(); step; step = steps.pop()) await undo(step)
      })()
      return ended
    },
  }
}
