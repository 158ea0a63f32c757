/** Milliseconds and characters that are gathered into one event of text. */
const GATHER_MS = 50
const GATHER_CHARS = 2_048

/** Takes an event of text, complete but for its number. */
type Give = (event: string, fields: Record<string, unknown>) => void

/** Gathers pieces of text into fewer events. The first piece after a pause goes out at once. */
export type DeltaBuffer = {
  /** @param fields of the event besides `delta`; a change of them begins a new event. */
  push(event: string, fields: Record<string, unknown>, delta: string): void
  /** Gives out what has been gathered, before anything else may follow. */
  flush(): void
}

type Gathered = { event: string; fields: Record<string, unknown>; key: string; text: string }

/** Makes the buffer. */
export function createDeltaBuffer(give: Give): DeltaBuffer {
  let gathered: Gathered | null = null
  let givenAt = -Infinity
  let timer: ReturnType<typeof setTimeout> | undefined

  function out(isForced: boolean): void {
    clearTimeout(timer)
    timer = undefined
    if (gathered === null) return
    const { event, fields, key, text } = gathered
    // Half of a character waits for its other half, unless none can follow.
    const half = isForced ? '' : (/[\ud800-\udbff]$/.exec(text)?.[0] ?? '')
    gathered = half === '' ? null : { event, fields, key, text: half }
    const whole = half === '' ? text : text.slice(0, -1)
    if (whole === '') return
    givenAt = performance.now()
    give(event, { ...fields, delta: whole })
  }

  return {
    push(event, fields, delta) {
      const key = JSON.stringify([event, fields])
      if (gathered !== null && gathered.key !== key) out(true)
      gathered = { event, fields, key, text: (gathered?.text ?? '') + delta }
      const wait = givenAt + GATHER_MS - performance.now()
      if (wait <= 0 || gathered.text.length >= GATHER_CHARS) out(false)
      else timer ??= setTimeout(() => out(false), wait)
    },
    flush: () => out(true),
  }
}
