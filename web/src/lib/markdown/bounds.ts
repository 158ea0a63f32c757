/** Marks in one piece. What the parser does with them may grow with their square, and nothing else moves meanwhile. */
const MAX_MARKS = 2_000
const MARKS = /[*_~[\]!|`<>]/g
/** A line that begins with so much indentation and so many signs of lists and quotes that a hundred may be nested. */
const NESTED = /^[ \t>*+.)\d-]{200}/m

/** Whether parsing a piece of text as Markdown may take so long that the page stands still. */
export const isTooMuchToParse = (text: string): boolean =>
  NESTED.test(text) || (text.match(MARKS)?.length ?? 0) > MAX_MARKS
