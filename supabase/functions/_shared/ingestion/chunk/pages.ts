/** A page as the database has it; `page_number` counts from 1. */
export type Page = { page_number: number; text: string }

/** What stands between two pages in the joined text. */
export const PAGE_SEPARATOR = '\n\n'

export type JoinedPages = {
  /** Texts of all pages with `PAGE_SEPARATOR` between them: what `start_char` and `end_char` count in, in UTF-16 units. */
  text: string
  /** Numbers of the pages that the range from `start` to `end` touches, ascending. */
  pagesOf(start: number, end: number): number[]
}

export function joinPages(pages: Page[]): JoinedPages {
  const starts: number[] = []
  let length = 0
  for (const page of pages) {
    starts.push(length)
    length += page.text.length + PAGE_SEPARATOR.length
  }
  return {
    text: pages.map((page) => page.text).join(PAGE_SEPARATOR),
    pagesOf(start, end) {
      let low = 0
      let high = starts.length - 1
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if ((starts[middle] as number) <= start) low = middle
        else high = middle - 1
      }
      const numbers: number[] = []
      for (let index = low; index < pages.length && (starts[index] as number) < end; index++) {
        const page = pages[index] as Page
        if ((starts[index] as number) + page.text.length > start) numbers.push(page.page_number)
      }
      return numbers
    },
  }
}
