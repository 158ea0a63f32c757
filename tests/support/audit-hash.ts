import { createHash } from 'node:crypto'

// What a stranger needs to check an exported audit log. docs/audit.md shows the same lines.

/** A row of ai.audit_events as the Data API gives it. */
export type AuditRow = Record<string, unknown> & { seq: number; prev_hash: string; hash: string; action: string }

/** JSON as PostgreSQL writes jsonb: keys by length in bytes, then by byte; a space after commas and colons. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(', ')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const entries = Object.entries(value).map(([key, item]) => ({ key: Buffer.from(key), item }))
  entries.sort((a, b) => a.key.length - b.key.length || Buffer.compare(a.key, b.key))
  return `{${entries.map(({ key, item }) => `${JSON.stringify(key.toString())}: ${canonical(item)}`).join(', ')}}`
}

/** 2026-11-21T12:00:00.12+00:00, as the Data API writes it, with six decimals and a Z. */
const utc = (time: unknown): string => {
  const [, seconds = '', decimals = ''] = /^([^.+]+)(?:\.(\d+))?\+00:00$/.exec(String(time)) ?? []
  return `${seconds}.${decimals.padEnd(6, '0')}Z`
}

/** What `hash` of the row must be. */
export function hashOf({ prev_hash, hash: _, ...row }: AuditRow): string {
  const text = canonical({ ...row, occurred_at: utc(row.occurred_at), recorded_at: utc(row.recorded_at) })
  return createHash('sha256').update(`${prev_hash}\n${text}`).digest('hex')
}
