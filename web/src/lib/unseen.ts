/**
 * Characters that show nothing, or turn the direction of what stands beside them. Joiners of scripts and emoji belong to what they join.
 */
const UNSEEN =
  /(?![\n\t])\p{Cc}|(?![\u200c\u200d])[\p{Cf}\u2028\u2029\u034f\u115f\u1160\u3164\uffa0]|(?<![^\0-\x7f])[\u200c\u200d]|[\u{e0100}-\u{e01ef}]/gu

/** The text with escapes, as JSON has them, in place of what could not be seen in it. */
export const withoutUnseen = (text: string): string =>
  text.replace(UNSEEN, (found) =>
    Array.from({ length: found.length }, (_, at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
      '',
    ),
  )
