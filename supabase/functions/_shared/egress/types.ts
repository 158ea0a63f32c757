/** A request to the outside. */
export type EgressRequest = {
  /** Upper case; `GET` when absent. */
  method?: string
  /** Headers about the connection (host, content-length, connection, ...) are ours and are left out. */
  headers?: Readonly<Record<string, string>> | Headers
  body?: string | Uint8Array | null
  /** Ends the request; what it was aborted with is thrown. */
  signal?: AbortSignal
  /** Milliseconds for everything together: names, redirects, body. 30,000 when absent. */
  timeoutMs?: number
  /** Milliseconds without a byte. 10,000 when absent. */
  idleTimeoutMs?: number
  /** Bytes of the body, after decompression, that are kept. 1 MiB when absent. */
  maxBytes?: number
  /** What to do with a longer body: keep its beginning (`truncate`, the default), or throw `too_large`. */
  overflow?: 'truncate' | 'refuse'
  /** Redirects that are followed: 5 when absent and at most. `manual`: a redirect is an answer like any other. */
  maxRedirects?: number | 'manual'
}

/** An answer whose body has been read. */
export type EgressResponse = {
  status: number
  headers: Headers
  /** Where the answer came from, after redirects. */
  url: string
  body: Uint8Array
  /** The body as UTF-8; what is not UTF-8 becomes U+FFFD. */
  text(): string
  /** Whether the body was longer than `maxBytes`. */
  truncated: boolean
}

/** An answer whose body is still coming. `maxBytes` ends it with `too_large`; the time limits go on. */
export type EgressStream = {
  status: number
  headers: Headers
  url: string
  /** To be read once. Leaving the loop closes the connection. */
  body: AsyncIterable<Uint8Array>
  /** Closes the connection; needed when the body is not read. */
  close(): void
}

/** The one way by which a model, tool, hook or MCP server makes us fetch something. Errors: EgressError. */
export type Egress = {
  /**
   * Fetches a URL. Redirects are followed under the same rules; when they leave the origin, only headers that tell
   * nothing are taken along, and POST becomes GET as in browsers.
   * @throws EgressError; what `signal` was aborted with.
   */
  fetch(url: string, request?: EgressRequest): Promise<EgressResponse>
  /** As `fetch`, but gives the body as it comes, for event streams. */
  stream(url: string, request?: EgressRequest): Promise<EgressStream>
  /**
   * Applies the rules to a URL, its name resolved, without contacting it: for storing endpoints and handing URLs on.
   * @throws EgressError.
   */
  check(url: string, signal?: AbortSignal): Promise<void>
  /**
   * The same, with the origin of this URL vouched for (http, internal addresses and its port are allowed): for endpoints
   * from the environment, never for anything a user or a model can write.
   */
  trusting(url: string): Egress
}
