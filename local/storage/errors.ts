/**
 * Every error the Storage API answers with: the status it states in the body, the platform's older name for it, and
 * its sentence. The HTTP status itself is 400 for all of them except 416 and 500, as on the platform.
 */
export const STORAGE_ERRORS = {
  NoSuchBucket: { status: 404, error: 'Bucket not found', message: 'Bucket not found' },
  NoSuchKey: { status: 404, error: 'not_found', message: 'Object not found' },
  NoSuchRoute: { status: 404, error: 'Not Found', message: 'Route not found' },
  NoSuchUpload: { status: 404, error: 'NoSuchUpload', message: 'Upload not found' },
  InvalidRequest: { status: 400, error: 'InvalidRequest', message: 'Invalid request' },
  InvalidJWT: { status: 400, error: 'InvalidJWT', message: 'Invalid JWT' },
  InvalidSignature: { status: 400, error: 'InvalidSignature', message: 'Invalid signature' },
  InvalidKey: { status: 400, error: 'InvalidKey', message: 'Invalid key' },
  InvalidBucketName: { status: 400, error: 'Invalid Input', message: 'Bucket name invalid' },
  AccessDenied: { status: 403, error: 'Unauthorized', message: 'new row violates row-level security policy' },
  ResourceAlreadyExists: { status: 409, error: 'Duplicate', message: 'The resource already exists' },
  ResourceNotEmpty: { status: 409, error: 'InvalidRequest', message: 'The bucket you tried to delete is not empty' },
  NotSupported: { status: 501, error: 'NotSupported', message: 'The local stack does not offer this feature' },
  EntityTooLarge: {
    status: 413,
    error: 'Payload too large',
    message: 'The object exceeded the maximum allowed size',
  },
  InvalidMimeType: { status: 415, error: 'invalid_mime_type', message: 'mime type is not supported' },
  InvalidRange: { status: 416, error: 'invalid_range', message: 'invalid range provided' },
  InternalError: { status: 500, error: 'Internal', message: 'Internal Server Error' },
} as const

export type StorageErrorCode = keyof typeof STORAGE_ERRORS

/** A refusal with one of the codes above. */
export class StorageError extends Error {
  readonly code: StorageErrorCode

  constructor(code: StorageErrorCode, message: string = STORAGE_ERRORS[code].message, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
  }
}

/**
 * What a failure means to the caller: a refusal by row-level security, a duplicate or an unknown bucket as such,
 * everything else as `InternalError` without details.
 */
export function toStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error
  switch (sqlState(error)) {
    case '42501':
      return new StorageError('AccessDenied', undefined, { cause: error })
    case '23505':
      return new StorageError('ResourceAlreadyExists', undefined, { cause: error })
    case '23503':
      return new StorageError('NoSuchBucket', undefined, { cause: error })
    default:
      return new StorageError('InternalError', undefined, { cause: error })
  }
}

/** The error as the Storage API puts it on the wire. */
export function renderError({ code, message }: StorageError): Response {
  const { status, error } = STORAGE_ERRORS[code]
  const httpStatus = status === 416 || status === 500 ? status : 400
  const body = { statusCode: String(status), code, error, message }
  return Response.json(body, { status: httpStatus, headers: { 'cache-control': 'no-store' } })
}

function sqlState(error: unknown): string | undefined {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++) {
    const { code } = cause as { code?: unknown }
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return code
  }
  return undefined
}
