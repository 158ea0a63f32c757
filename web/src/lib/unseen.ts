/**
 * Characters that show nothing, or turn the direction of what stands beside them. Joiners of scripts and emoji, and what chooses the
 * form of a sign, belong to the character they stand behind: one of each, and only where there is one that needs them.
 */
const UNSEEN = new RegExp(
  [
    String.raw`(?![\n\t]|\r\n)\p{Cc}`,
    String.raw`(?![\u200c\u200d\ufe0e\ufe0f])[\p{Cf}\p{DI}\u2028\u2029\u2800]`,
    String.raw`(?<![^\0-\x7f\p{DI}])[\ufe0e\ufe0f]`,
    String.raw`(?<![^\0-\x7f\p{DI}]\ufe0f?)[\u200c\u200d]`,
  ].join('|'),
  'gu',
)

/** The text with escapes, as JSON has them, in place of what could not be seen in it. */
export const withoutUnseen = (text: string): string =>
  text.replace(UNSEEN, (found) =>
    Array.from({ length: found.length }, (_, at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
      '',
    ),
  )
