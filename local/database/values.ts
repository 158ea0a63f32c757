// How Postgres values become JavaScript ones, the same for both engines, in the shapes PostgREST's JSON has.

/** Type ids from pg_type.dat; they never change. */
const OID = {
  int8: 20, json: 114, jsonb: 3802, numeric: 1700, date: 1082, time: 1083, timestamp: 1114, timestamptz: 1184, timetz: 1266,
} // prettier-ignore

const exactNumber = (text: string): number | string => {
  const number = Number(text)
  if (!Number.isFinite(number)) return text
  // Fifteen significant digits always survive the way through a double.
  const digits = text.replace(/^-?0*\.?0*/, '').replace('.', '')
  return Number.isSafeInteger(number) || digits.length <= 15 ? number : text
}

/** `2026-01-01 00:00:00.5+00` to `2026-01-01T00:00:00.5+00:00`; infinity stays. */
const isoTimestamp = (text: string): string => text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')

const asIs = (text: string): string => text

/** Parsers by type id, from Postgres' text format. Types not listed keep the driver's own parser. */
export const PARSERS: Record<number, (text: string) => unknown> = {
  [OID.int8]: exactNumber,
  [OID.json]: JSON.parse,
  [OID.jsonb]: JSON.parse,
  [OID.numeric]: exactNumber,
  [OID.date]: asIs,
  [OID.time]: asIs,
  [OID.timestamp]: isoTimestamp,
  [OID.timestamptz]: isoTimestamp,
  [OID.timetz]: asIs,
}

const jsonText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
const timeText = (value: unknown): string => (value instanceof Date ? value.toISOString() : String(value))

/** Serializers by type id, to Postgres' text format. */
export const SERIALIZERS: Record<number, (value: unknown) => string> = {
  [OID.int8]: String,
  [OID.json]: jsonText,
  [OID.jsonb]: jsonText,
  [OID.numeric]: String,
  [OID.date]: timeText,
  [OID.time]: timeText,
  [OID.timestamp]: timeText,
  [OID.timestamptz]: timeText,
  [OID.timetz]: timeText,
}

/** A pgvector parameter may come as JSON text or as an array of numbers, as PostgREST accepts both. */
export const vectorText = (value: unknown): string => (Array.isArray(value) ? JSON.stringify(value) : String(value))

/** Finds the types `vectorText` applies to. */
export const VECTOR_TYPES_SQL = `select oid::int as oid from pg_catalog.pg_type where typname in ('vector', 'halfvec') and typtype = 'b'`
