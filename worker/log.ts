import type { Log, LogFields } from '../supabase/functions/_shared/ingestion/context.ts'

export type { Log, LogFields }

/** Writes each event as one JSON line. */
export function createLog(write: (line: string) => void, base: LogFields = {}): Log {
  const emit =
    (level: string) =>
    (event: string, fields: LogFields = {}) =>
      write(JSON.stringify({ time: new Date().toISOString(), level, event, ...base, ...fields }))
  return { info: emit('info'), error: emit('error') }
}
