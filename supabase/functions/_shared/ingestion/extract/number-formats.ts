/** What a number of a spreadsheet stands for. */
export type NumberKind = 'number' | 'percent' | 'date' | 'datetime' | 'time' | 'duration'

// Formats that every program knows by their number. Those from 27 on are dates of East Asia, some of them times, and which
// of them depends on the language of the program: what they stand for is read from the value.
const BUILT_IN: [from: number, to: number, kind: NumberKind | 'moment'][] = [
  [9, 10, 'percent'],
  [14, 17, 'date'],
  [18, 21, 'time'],
  [22, 22, 'datetime'],
  [27, 36, 'moment'],
  [45, 45, 'time'],
  [46, 46, 'duration'],
  [47, 47, 'time'],
  [50, 58, 'moment'],
]
/** Longest format a spreadsheet can have, in characters. */
const MAX_CODE_LENGTH = 255
const SECONDS_PER_DAY = 86_400
const MS_PER_DAY = SECONDS_PER_DAY * 1000

/** A format: the kind of number it shows, or `moment` where only the value tells a date from a time. */
export type NumberFormat = NumberKind | 'moment'

/** What a format that is not in the file shows, by its number. */
export const builtInFormat = (id: number): NumberFormat =>
  BUILT_IN.find(([from, to]) => id >= from && id <= to)?.[2] ?? 'number'

/** What a format shows, by its code, e.g. `yyyy-mm-dd` or `0.0%`. Its letters are English in every file. */
export function formatOf(code: string): NumberFormat {
  // Literal characters first: they may be any of those looked for.
  const plain = code
    .slice(0, MAX_CODE_LENGTH)
    .replace(/"[^"]*"|[\\_*]./g, '')
    .toLowerCase()
  if (/\[(?:h+|m+|s+)\]/.test(plain)) return 'duration'
  const shown = plain
    .replace(/\[[^\]]*\]/g, '')
    .replace(/general|am\/pm|a\/p/g, '')
    .split(';', 1)[0] as string
  const hasTime = /[hs]/.test(shown)
  const hasDate = /[yd]/.test(shown) || (!hasTime && shown.includes('m'))
  if (hasDate) return hasTime ? 'datetime' : 'date'
  if (hasTime) return 'time'
  return shown.includes('%') ? 'percent' : 'number'
}

/** A number as spreadsheets show it: with 15 digits, which leaves out the noise of binary fractions. */
const plainNumber = (value: number): string =>
  String(Number.isSafeInteger(value) ? value : Number(value.toPrecision(15)))

const two = (value: number): string => String(value).padStart(2, '0')

function timeText(seconds: number): string {
  const rest = seconds % 60
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}${rest ? `:${two(rest)}` : ''}`
}

/** The day of a serial number, e.g. `2024-03-01`; null when there is no such day. */
function dayText(days: number, is1904: boolean): string | null {
  // In the calendar of 1900 day 1 is the first of January, and day 60 one that never was.
  if (!is1904 && days === 60) return '1900-02-29'
  if (days < (is1904 ? 0 : 1)) return null
  const origin = is1904 ? Date.UTC(1904, 0, 1) : Date.UTC(1899, 11, days < 60 ? 31 : 30)
  const date = new Date(origin + days * MS_PER_DAY)
  return date.getUTCFullYear() <= 9999 ? date.toISOString().slice(0, 10) : null
}

/**
 * A number as text: dates and times as ISO 8601 has them (`2024-03-01 14:30`), durations as `26:30`, shares as percent,
 * anything else as a plain number. A date that no calendar has stays a number.
 * @param is1904 whether days are counted from 1904, as old programs on the Mac did.
 */
export function showNumber(value: number, format: NumberFormat, is1904: boolean): string {
  if (format === 'number') return plainNumber(value)
  if (format === 'percent') return `${plainNumber(value * 100)}%`
  if (format === 'duration') {
    const seconds = Math.round(Math.abs(value) * SECONDS_PER_DAY)
    return Number.isSafeInteger(seconds) ? (value < 0 ? '-' : '') + timeText(seconds) : plainNumber(value)
  }
  let days = Math.floor(value)
  let seconds = Math.round((value - days) * SECONDS_PER_DAY)
  if (seconds === SECONDS_PER_DAY) {
    days++
    seconds = 0
  }
  const time = timeText(seconds)
  if (days < 0 || days > 3_000_000) return plainNumber(value)
  if (format === 'time') return time
  const day = dayText(days, is1904)
  if (format === 'moment') return day === null ? time : seconds ? `${day} ${time}` : day
  if (format === 'date') return day ?? plainNumber(value)
  return day === null ? time : `${day} ${time}`
}
