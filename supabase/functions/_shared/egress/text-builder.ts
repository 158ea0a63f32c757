/**
 * Puts the texts of a page together: white space as a browser shows it, blocks on lines of their own. What separates two
 * texts is written when the second one comes, so there is never white space at an end.
 */
export class TextBuilder {
  /** How many `pre` elements we are in. */
  preformatted = 0
  private readonly parts: string[] = []
  private readonly marks: number[] = []
  private breaks = 0
  private spaced = false
  private pending = ''
  private cells = 0
  private bracket: number | null = null

  /** Begins a line (1) or a paragraph (2). */
  separate(breaks: 1 | 2): void {
    this.breaks = Math.max(this.breaks, breaks)
    this.spaced = false
    this.cells = 0
  }

  lineBreak(): void {
    this.breaks = Math.min(this.breaks + 1, 2)
    this.spaced = false
  }

  /** What goes before the next text of this block, if there is any. */
  prefix(text: string): void {
    this.pending = text
  }

  /** Separates a cell of a table from the one before it. */
  cell(): void {
    if (this.cells++ > 0) this.put(' | ', false)
  }

  text(text: string): void {
    if (this.preformatted > 0) {
      const lines = text.replace(/\r\n?/g, '\n')
      if (lines !== '') this.put(lines, true)
      return
    }
    const words = text.replace(/\s+/g, ' ')
    if (words.startsWith(' ')) this.spaced = true
    const trimmed = words.trim()
    if (trimmed === '') return
    this.put(trimmed, true)
    this.spaced = words.endsWith(' ')
  }

  /** A text of ours, apart from what stands before it. */
  literal(text: string): void {
    this.put(text, true)
  }

  /** Opens what `closeBracket` closes; if no text comes in between, both are left out. */
  openBracket(text: string): void {
    this.put(text, true)
    this.bracket = this.parts.length
  }

  closeBracket(text: string): void {
    if (this.bracket === this.parts.length) this.parts.pop()
    else this.parts.push(text)
    this.bracket = null
  }

  /** Notes the place: the texts between the first and second mark, third and fourth, ... are the marked ones. */
  mark(): void {
    this.marks.push(this.parts.length)
  }

  /** All texts, and the marked ones. */
  finish(): { all: string; marked: string } {
    const marked: string[] = []
    for (let i = 0; i < this.marks.length; i += 2) {
      marked.push(
        this.parts
          .slice(this.marks[i], this.marks[i + 1] ?? this.parts.length)
          .join('')
          .trim(),
      )
    }
    return { all: tidy(this.parts.join('')), marked: tidy(marked.filter((text) => text !== '').join('\n\n')) }
  }

  private put(text: string, separated: boolean): void {
    if (this.parts.length > 0) {
      if (this.breaks > 0) this.parts.push('\n'.repeat(this.breaks))
      else if (this.spaced && separated) this.parts.push(' ')
    }
    if (this.pending !== '') this.parts.push(this.pending)
    this.parts.push(text)
    this.breaks = 0
    this.spaced = false
    this.pending = ''
  }
}

const tidy = (text: string): string => text.replace(/\n{3,}/g, '\n\n').trim()
