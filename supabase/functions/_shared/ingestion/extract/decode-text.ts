/** Text of a file and the encoding it was taken to be in (a label of the WHATWG Encoding Standard). */
export type DecodedText = { text: string; encoding: string }

const decode = (label: string, bytes: Uint8Array, fatal: boolean): string | null => {
  try {
    return new TextDecoder(label, { fatal }).decode(bytes)
  } catch {
    return null
  }
}

/**
 * UTF-16 without a byte order mark shows as zeros at every second byte, because most of any text has code points below 256.
 */
function guessUtf16(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | null {
  const sample = bytes.subarray(0, 4096)
  if (sample.length < 4) return null
  let even = 0
  let odd = 0
  for (let index = 0; index < sample.length; index++) if (sample[index] === 0) index % 2 ? odd++ : even++
  const half = sample.length / 2
  if (odd > half * 0.4 && even < half * 0.05) return 'utf-16le'
  if (even > half * 0.4 && odd < half * 0.05) return 'utf-16be'
  return null
}

const JAPANESE = /[\u3000-\u30FF\u3400-\u9FFF\uFF01-\uFF9F\u2010-\u2027\u3220-\u33FF\u2500-\u257F]/
const KANA = /[\u3041-\u3096\u30A1-\u30FA\u30FC]/g

/**
 * Whether bytes that happen to decode as a Japanese double-byte encoding really are Japanese. Western text misread so
 * gives single ideographs between Latin letters; Japanese comes in runs.
 */
function looksJapanese(text: string): boolean {
  let foreign = 0
  let inRun = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x80) continue
    if (unit >= 0xe000 && unit <= 0xf8ff) return false
    foreign++
    const before = index > 0 && JAPANESE.test(text[index - 1] as string)
    const after = index + 1 < text.length && JAPANESE.test(text[index + 1] as string)
    if (JAPANESE.test(text[index] as string) && (before || after)) inRun++
  }
  return foreign > 0 && inRun / foreign > 0.7
}

/** The better of the two Japanese encodings, or null if neither fits. */
function decodeJapanese(bytes: Uint8Array): DecodedText | null {
  const readings = ['shift_jis', 'euc-jp'].flatMap((encoding) => {
    const text = decode(encoding, bytes, true)
    return text !== null && looksJapanese(text) ? [{ text, encoding }] : []
  })
  const kana = (reading: DecodedText) => (reading.text.match(KANA) ?? []).length
  const halfWidth = (reading: DecodedText) => (reading.text.match(/[\uFF61-\uFF9F]/g) ?? []).length
  // EUC-JP misread as Shift_JIS turns into half-width katakana, which hardly any text consists of.
  readings.sort((a, b) => halfWidth(a) - halfWidth(b) || kana(b) - kana(a))
  return readings[0] ?? null
}

/** Share of control characters: near zero in text of any language, large in anything binary. */
function controlShare(text: string): number {
  let controls = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if ((unit < 0x20 && unit !== 9 && unit !== 10 && unit !== 12 && unit !== 13 && unit !== 27) || unit === 0x7f)
      controls++
    else if (unit >= 0x80 && unit < 0xa0) controls++
  }
  return text.length === 0 ? 0 : controls / text.length
}

/** Share of characters beyond ASCII that may be damaged in UTF-8: what a file that was cut off, or pasted together, has. */
const MOST_DAMAGED = 0.05
/** In a short text: characters that are whole, at least, and for each one that is damaged. */
const FEWEST_WHOLE = 3

/**
 * UTF-8 with a few bytes that are not, as U+FFFD; null for another encoding: text in any of those has next to no two
 * bytes beyond ASCII that make a character of UTF-8.
 */
function decodeDamagedUtf8(bytes: Uint8Array): DecodedText | null {
  const text = new TextDecoder('utf-8').decode(bytes)
  let foreign = 0
  let damaged = 0
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    // A pair of surrogates is one character.
    if (unit >= 0x80 && (unit & 0xfc00) !== 0xdc00) foreign++
    if (unit === 0xfffd) damaged++
  }
  const whole = foreign - damaged
  const isUtf8 = damaged <= foreign * MOST_DAMAGED || whole >= FEWEST_WHOLE * Math.max(1, damaged)
  return isUtf8 ? { text, encoding: 'utf-8' } : null
}

const BYTE_ORDER_MARKS: [number[], string][] = [
  [[0xef, 0xbb, 0xbf], 'utf-8'],
  [[0xff, 0xfe], 'utf-16le'],
  [[0xfe, 0xff], 'utf-16be'],
]

/**
 * Decodes a text file whose encoding nobody declared: byte order mark, then UTF-8, UTF-16 by its zeros, `declared` (a label
 * found inside the file), UTF-8 that is damaged in a few places, Shift_JIS (as Windows code page 932) or EUC-JP, and
 * windows-1252 for the rest.
 * Returns null when the bytes are no text in any of them.
 */
export function decodeText(bytes: Uint8Array, declared?: string): DecodedText | null {
  const accept = (reading: DecodedText | null) =>
    reading && controlShare(reading.text) <= 0.01 && !isMostlyNul(bytes, reading.encoding) ? reading : null

  for (const [mark, encoding] of BYTE_ORDER_MARKS) {
    if (mark.every((byte, index) => bytes[index] === byte)) {
      return accept({ text: new TextDecoder(encoding).decode(bytes), encoding })
    }
  }
  const wide = guessUtf16(bytes)
  if (wide) return accept({ text: new TextDecoder(wide).decode(bytes), encoding: wide })

  const utf8 = decode('utf-8', bytes, true)
  if (utf8 !== null) return accept({ text: utf8, encoding: 'utf-8' })

  if (declared) {
    const text = decode(declared, bytes, true)
    if (text !== null) return accept({ text, encoding: new TextDecoder(declared).encoding })
  }
  return accept(
    decodeDamagedUtf8(bytes) ??
      decodeJapanese(bytes) ?? { text: new TextDecoder('windows-1252').decode(bytes), encoding: 'windows-1252' },
  )
}

const isMostlyNul = (bytes: Uint8Array, encoding: string): boolean =>
  !encoding.startsWith('utf-16') && bytes.subarray(0, 8192).filter((byte) => byte === 0).length > bytes.length * 0.01
