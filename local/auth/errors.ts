/** An error answer of the Auth API. */
export class AuthError extends Error {
  override name = 'AuthError'
  readonly status: number
  readonly errorCode: string
  constructor(status: number, errorCode: string, message: string) {
    super(message)
    this.status = status
    this.errorCode = errorCode
  }
}

/** The body GoTrue gives: auth-js reads `error_code` and `msg`. */
export const authErrorResponse = ({ status, errorCode, message }: AuthError): Response =>
  Response.json(
    { code: status, error_code: errorCode, msg: message },
    { status, headers: { 'x-sb-error-code': errorCode } },
  )

export const bannedError = (): AuthError => new AuthError(400, 'user_banned', 'User is banned')
