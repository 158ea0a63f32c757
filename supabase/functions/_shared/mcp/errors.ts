import { EgressError } from '../egress/errors.ts'

/** Kinds of failures when talking to an MCP server. */
export type McpFailure =
  /** No connection, or one that broke. */
  | 'unreachable'
  | 'timed_out'
  /** An HTTP status that is no success. */
  | 'refused'
  /** The server has forgotten the session. */
  | 'session_lost'
  /** An answer that is not what the protocol says. */
  | 'malformed'
  | 'too_large'
  /** An error as JSON-RPC has it: the server understood and declined. */
  | 'rpc_error'

/** What went wrong between us and an MCP server. `message` continues "The MCP server ..." and holds nothing of the server's. */
export class McpError extends Error {
  readonly failure: McpFailure
  /** JSON-RPC code of an `rpc_error`. */
  readonly code: number | null
  /** The server's own words: foreign text, for the model at most, and only with secrets masked. */
  readonly detail: string

  constructor(
    failure: McpFailure,
    message: string,
    options: { cause?: unknown; code?: number; detail?: string | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'McpError'
    this.failure = failure
    this.code = options.code ?? null
    this.detail = options.detail ?? ''
  }
}

/** What the egress has refused or given up, as a failure; null for other errors. Its messages may be shown to anybody. */
export function fromEgress(error: unknown): McpError | null {
  if (!(error instanceof EgressError)) return null
  const failure = error.code === 'timeout' ? 'timed_out' : error.code === 'too_large' ? 'too_large' : 'unreachable'
  const reason = `${error.message.slice(0, 1).toLowerCase()}${error.message.slice(1).replace(/\.$/, '')}`
  return new McpError(failure, `cannot be asked: ${reason}`, { cause: error })
}
