/** A time limit that can stand still, for instance while a person thinks. */
export type Clock = {
  /** Stops the clock; the returned function starts it again. Calls may overlap. */
  pause(): () => void
  /** Ends it; nothing happens any more. */
  stop(): void
}

/** Calls `onExpired` once, after this many milliseconds of running time. */
export function startClock(ms: number, onExpired: () => void): Clock {
  let left = ms
  let startedAt = Date.now()
  let pauses = 0
  let isOver = false
  let timer: ReturnType<typeof setTimeout> | undefined
  const go = () => {
    startedAt = Date.now()
    timer = setTimeout(
      () => {
        isOver = true
        onExpired()
      },
      Math.max(left, 0),
    )
  }
  go()
  return {
    pause() {
      if (pauses++ === 0 && !isOver) {
        clearTimeout(timer)
        left -= Date.now() - startedAt
      }
      let isResumed = false
      return () => {
        if (isResumed) return
        isResumed = true
        if (--pauses === 0 && !isOver) go()
      }
    },
    stop() {
      isOver = true
      clearTimeout(timer)
    },
  }
}
