/** What one extraction may use. Reaching any of them ends that source with `limit_exceeded` or `too_large`, and nothing else. */
export type ExtractLimits = {
  /** Largest object the worker downloads, in bytes. */
  maxBytes: number
  /** Most pages of a paged document. */
  maxPages: number
  /** Most characters (UTF-16 units) of extracted text. */
  maxCharacters: number
  /** Most cells of a spreadsheet that hold something, in all its sheets together. */
  maxCells: number
  /** Most bytes the parts of an archive may claim to unpack to. */
  maxDecompressedBytes: number
  /** Wall time of the extraction process, in milliseconds. */
  timeoutMs: number
  /** Resident memory of the extraction process, in MiB; its JavaScript heap gets three quarters of it. */
  memoryMb: number
  /**
   * Folder with the character maps of Chinese, Japanese and Korean fonts, if there is one; without them text in such fonts of a PDF
   * stays unreadable.
   */
  characterMaps?: string
}

export const DEFAULT_LIMITS: ExtractLimits = {
  maxBytes: 50 * 1024 * 1024,
  maxPages: 5_000,
  maxCharacters: 10_000_000,
  maxCells: 1_000_000,
  maxDecompressedBytes: 200 * 1024 * 1024,
  timeoutMs: 120_000,
  memoryMb: 768,
}
