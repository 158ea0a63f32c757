/** Fields of an event: ids, counts, durations, codes. Never document text, names or keys. */
export type LogFields = Record<string, string | number | boolean | null | undefined>

export type Log = {
  info: (event: string, fields?: LogFields) => void
  error: (event: string, fields?: LogFields) => void
}

/** Writes each event as one JSON line. */
export function createLog(write: (line: string) => void, base: LogFields = {}): Log {
  const emit =
    (level: string) =>
    (event: string, fields: LogFields = {}) =>
      write(JSON.stringify({ time: new Date().toISOString(), level, event, ...base, ...fields }))
  return { info: emit('info'), error: emit('error') }
}
