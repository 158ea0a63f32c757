/**
 * Why a request was refused or failed:
 * - `bad_url`: not an address, or one with credentials in it
 * - `bad_request`: a method, header or body that cannot be sent
 * - `blocked_scheme`, `blocked_port`, `blocked_address`: the rules forbid it
 * - `dns_failed`, `connection_failed`: nobody there, or a broken connection or certificate
 * - `bad_response`: what came back is not HTTP, or is encoded in a way that was not asked for
 * - `too_many_redirects`, `too_large`, `timeout`: a limit was reached
 */
export type EgressErrorCode =
  | 'bad_url'
  | 'bad_request'
  | 'blocked_scheme'
  | 'blocked_port'
  | 'blocked_address'
  | 'dns_failed'
  | 'connection_failed'
  | 'bad_response'
  | 'too_many_redirects'
  | 'too_large'
  | 'timeout'

/**
 * A request that was not made or not finished. The message may be shown to a model: it never holds an address that a name
 * resolved to, nor anything the network said. What did is in `cause`, for the log.
 */
export class EgressError extends Error {
  readonly code: EgressErrorCode

  constructor(code: EgressErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'EgressError'
    this.code = code
  }
}
