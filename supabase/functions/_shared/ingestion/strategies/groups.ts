/** Characters that one question is about: of a longer part it is asked as far as here. */
export const CHARS_PER_QUESTION = 16_000
/** Parts that one question is about. */
const PARTS_PER_QUESTION = 8
/** Tokens of an answer that a model may think with, beside what it says. */
export const TOKENS_TO_THINK = 2000

/** Parts of a document in groups for one question each, in their order. @param charsOf how long a part is. */
export function groupsOf<Part>(parts: readonly Part[], charsOf: (part: Part) => number): Part[][] {
  const groups: Part[][] = []
  let chars = 0
  for (const part of parts) {
    const own = charsOf(part)
    const group = groups.at(-1)
    if (group && group.length < PARTS_PER_QUESTION && chars + own <= CHARS_PER_QUESTION) {
      group.push(part)
      chars += own
    } else {
      groups.push([part])
      chars = own
    }
  }
  return groups
}

/** A part as the material of a question: under the name that the answer has for it, and its headings. */
export type NamedPart = { name: string; headings: readonly string[]; text: string }

/** The parts of a group as one text. */
export const materialOf = (parts: readonly NamedPart[]): string =>
  parts.map(({ name, headings, text }) => `===== ${name}: ${headings.join(' > ')} =====\n${text}`).join('\n\n')
