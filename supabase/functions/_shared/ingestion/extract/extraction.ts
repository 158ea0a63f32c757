/** Text of a document that is small enough to be read in one go; PDFs come page by page instead. */
export type Extraction = {
  /** Text of each page, in order; the first is page 1. */
  pages: string[]
  /** Facts about the document found on the way: title, encoding. Shown to the user, never trusted. */
  metadata: Record<string, unknown>
}
