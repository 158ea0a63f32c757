import { toStorageError, type StorageErrorCode } from '../storage/errors.ts'

/** The AWS error codes this endpoint uses, each with its HTTP status and default sentence. */
export const S3_ERRORS = {
  AccessDenied: [403, 'Access Denied'],
  AuthorizationHeaderMalformed: [400, 'The authorization header is malformed.'],
  AuthorizationQueryParametersError: [400, 'The query parameters of the signature are malformed.'],
  BadDigest: [400, 'The checksum you specified did not match what we received.'],
  BucketAlreadyOwnedByYou: [409, 'Your previous request to create the named bucket succeeded.'],
  BucketNotEmpty: [409, 'The bucket you tried to delete is not empty'],
  EntityTooLarge: [400, 'Your proposed upload exceeds the maximum allowed size'],
  EntityTooSmall: [400, 'Your proposed upload is smaller than the minimum allowed size'],
  IncompleteBody: [400, 'You did not provide the number of bytes specified by the Content-Length HTTP header'],
  InternalError: [500, 'We encountered an internal error. Please try again.'],
  InvalidAccessKeyId: [403, 'The AWS Access Key Id you provided does not exist in our records.'],
  InvalidArgument: [400, 'Invalid Argument'],
  InvalidBucketName: [400, 'The specified bucket is not valid.'],
  InvalidDigest: [400, 'The checksum you specified is not valid.'],
  InvalidPart: [400, 'One or more of the specified parts could not be found, or its entity tag did not match.'],
  InvalidPartOrder: [400, 'The list of parts was not in ascending order.'],
  InvalidRange: [416, 'The requested range is not satisfiable'],
  InvalidRequest: [400, 'Invalid Request'],
  InvalidToken: [400, 'The provided token is malformed or otherwise invalid.'],
  InvalidURI: [400, "Couldn't parse the specified URI."],
  KeyTooLongError: [400, 'Your key is too long or holds characters that are not allowed'],
  MalformedXML: [400, 'The XML you provided was not well-formed or did not validate against our published schema'],
  MethodNotAllowed: [405, 'The specified method is not allowed against this resource.'],
  MissingContentLength: [411, 'You must provide the Content-Length HTTP header.'],
  NoSuchBucket: [404, 'The specified bucket does not exist'],
  NoSuchKey: [404, 'The specified key does not exist.'],
  NoSuchUpload: [404, 'The specified multipart upload does not exist.'],
  NotImplemented: [501, 'The local stack does not offer this feature.'],
  PreconditionFailed: [412, 'At least one of the pre-conditions you specified did not hold'],
  RequestTimeTooSkewed: [403, "The difference between the request time and the server's time is too large."],
  SignatureDoesNotMatch: [403, 'The request signature we calculated does not match the signature you provided.'],
  XAmzContentSHA256Mismatch: [400, 'The provided x-amz-content-sha256 does not match what was computed.'],
} as const satisfies Record<string, readonly [number, string]>

export type S3ErrorCode = keyof typeof S3_ERRORS

/** A refusal with an AWS code. */
export class S3Error extends Error {
  readonly code: S3ErrorCode

  constructor(code: S3ErrorCode, message: string = S3_ERRORS[code][1], options?: ErrorOptions) {
    super(message, options)
    this.name = 'S3Error'
    this.code = code
  }
}

const FROM_STORAGE: Partial<Record<StorageErrorCode, S3ErrorCode>> = {
  AccessDenied: 'AccessDenied',
  EntityTooLarge: 'EntityTooLarge',
  InvalidBucketName: 'InvalidBucketName',
  InvalidKey: 'KeyTooLongError',
  InvalidMimeType: 'InvalidRequest',
  InvalidRange: 'InvalidRange',
  InvalidRequest: 'InvalidRequest',
  NoSuchBucket: 'NoSuchBucket',
  NoSuchKey: 'NoSuchKey',
  ResourceNotEmpty: 'BucketNotEmpty',
}

/** Any failure as an S3 error; what the caller must not see becomes `InternalError`. */
export function toS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  const { code, message } = toStorageError(error)
  const mapped = FROM_STORAGE[code]
  if (!mapped) return new S3Error('InternalError', undefined, { cause: error })
  return new S3Error(mapped, mapped === 'InvalidRequest' ? message : undefined, { cause: error })
}
