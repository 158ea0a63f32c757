// Sums of numbers as the database has them: its integers and numerics have more digits than a double.

/** A decimal number: `units` / 10^`scale`. */
export type Decimal = { units: bigint; scale: number }

export const ZERO: Decimal = { units: 0n, scale: 0 }

/** Digits after the point that are kept exactly. */
const MAX_SCALE = 400

/** Reads a number as PostgreSQL writes it, e.g. `-12.50` or `1e-05`; undefined for NaN, infinities and everything else. */
export function decimalOf(text: string): Decimal | undefined {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text)
  if (!match) return undefined
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  const scale = fraction.length - Number(exponent)
  if (Math.abs(scale) > MAX_SCALE) return undefined
  const units = BigInt(whole + fraction) * (scale < 0 ? 10n ** BigInt(-scale) : 1n)
  return { units: sign === '-' ? -units : units, scale: Math.max(0, scale) }
}

const scaled = (value: Decimal, scale: number): bigint => value.units * 10n ** BigInt(scale - value.scale)

export function add(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale)
  return { units: scaled(a, scale) + scaled(b, scale), scale }
}

/** `a` - `b` by sign: negative, zero or positive. */
export function compareDecimals(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale)
  const difference = scaled(a, scale) - scaled(b, scale)
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

/** Divides by a count, to 16 digits after the point or as many as `a` has. */
export function divide(a: Decimal, count: number): Decimal {
  const scale = Math.max(a.scale, 16)
  const units = scaled(a, scale)
  const divisor = BigInt(count)
  const half = (units < 0n ? -divisor : divisor) / 2n
  return { units: (units + half) / divisor, scale }
}

/** A number where a double can hold the value, else its digits as a text. */
export function toJson(value: Decimal): number | string {
  const digits = (value.units < 0n ? -value.units : value.units).toString().padStart(value.scale + 1, '0')
  const whole = digits.slice(0, digits.length - value.scale)
  const fraction = digits.slice(digits.length - value.scale).replace(/0+$/, '')
  const text = `${value.units < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`
  return whole.length + fraction.length <= 15 || String(Number(text)) === text ? Number(text) : text
}
