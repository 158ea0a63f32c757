import { describe, expect, test } from 'vitest'
import {
  builtInFormat,
  formatOf,
  showNumber,
} from '../../supabase/functions/_shared/ingestion/extract/number-formats.ts'

describe('what a format shows', () => {
  test.each([
    ['General', 'number'],
    ['GENERAL', 'number'],
    ['0.00', 'number'],
    ['#,##0.00_);[Red](#,##0.00)', 'number'],
    ['0.00E+00', 'number'],
    ['0 "days"', 'number'],
    ['0\\ \\d', 'number'],
    ['[$€-407]#,##0.00', 'number'],
    ['0.0%', 'percent'],
    ['0"%"', 'number'],
    ['yyyy-mm-dd', 'date'],
    ['[$-409]mmmm d, yyyy;@', 'date'],
    ['MM/DD/YY', 'date'],
    ['mmm', 'date'],
    ['yyyy"年"m"月"d"日"', 'date'],
    ['dd.mm.yyyy hh:mm', 'datetime'],
    ['[$-F400]h:mm:ss AM/PM', 'time'],
    ['mm:ss.0', 'time'],
    ['[h]:mm', 'duration'],
    ['[mm]:ss', 'duration'],
  ])('%s: %s', (code, kind) => expect(formatOf(code)).toBe(kind))

  test.each([
    [0, 'number'],
    [4, 'number'],
    [10, 'percent'],
    [14, 'date'],
    [20, 'time'],
    [22, 'datetime'],
    [31, 'moment'],
    [46, 'duration'],
    [49, 'number'],
    [99_999, 'number'],
  ])('number %i: %s', (id, kind) => expect(builtInFormat(id)).toBe(kind))
})

describe('a number is shown', () => {
  test.each([
    [0.1 + 0.2, 'number', '0.3'],
    [1234567, 'number', '1234567'],
    [-2.5, 'number', '-2.5'],
    [0.285, 'percent', '28.5%'],
    [45352, 'date', '2024-03-01'],
    [45352.75, 'date', '2024-03-01'],
    [45352.604166666664, 'datetime', '2024-03-01 14:30'],
    [45352.999999, 'datetime', '2024-03-02 00:00'],
    [0.5, 'time', '12:00'],
    [45352.000011574, 'time', '00:00:01'],
    [1.1041666666, 'duration', '26:30'],
    [-0.5, 'duration', '-12:00'],
    [0.25, 'moment', '06:00'],
    [45352, 'moment', '2024-03-01'],
    [45352.25, 'moment', '2024-03-01 06:00'],
    // The calendar of 1900 has a day too many.
    [1, 'date', '1900-01-01'],
    [59, 'date', '1900-02-28'],
    [60, 'date', '1900-02-29'],
    [61, 'date', '1900-03-01'],
    [2_958_465, 'date', '9999-12-31'],
    // What is no date stays a number.
    [2_958_466, 'date', '2958466'],
    [0, 'date', '0'],
    [-1, 'date', '-1'],
    [1e300, 'datetime', '1e+300'],
    [1e300, 'duration', '1e+300'],
  ] as const)('%d as %s: %s', (value, format, shown) => expect(showNumber(value, format, false)).toBe(shown))

  test.each([
    [0, '1904-01-01'],
    [43890, '2024-03-01'],
  ])('%d in the calendar of 1904: %s', (value, shown) => expect(showNumber(value, 'date', true)).toBe(shown))
})
