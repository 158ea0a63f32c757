/**
 * Raw bytes of sources in S3-compatible storage: R2, AWS, Supabase Storage's S3 endpoint, the local stack's.
 * The SDK is loaded at the first use, so that functions which store nothing start without it.
 */
import type { S3Client } from '@aws-sdk/client-s3'
import { optional, required, type Env } from './env.ts'

export type ObjectStoreOptions = {
  /** URL of the S3 endpoint, as this process reaches it. */
  endpoint: string
  /** URL of the same endpoint as browsers reach it; presigned URLs point there. Default: `endpoint`. */
  publicEndpoint?: string
  region: string
  bucket: string
  accessKeyId: string
  secretAccessKey: string
}

/** There is no object under this key. */
export class ObjectMissingError extends Error {
  override name = 'ObjectMissingError'
}

/** A request that whoever holds it may make until it expires. */
export type PresignedRequest = {
  url: string
  method: 'PUT' | 'GET'
  /** Headers that are part of the signature and must be sent exactly so. */
  headers: Record<string, string>
  expiresAt: string
}

export type ObjectStore = {
  /** Stores an object whose bytes are in memory; `sha256` (hex) is checked by the storage too. */
  put(key: string, bytes: Uint8Array, options: { contentType: string; sha256: string }): Promise<void>
  /** @throws ObjectMissingError */
  get(key: string, signal?: AbortSignal): Promise<{ stream: AsyncIterable<Uint8Array>; sizeBytes: number | null }>
  /** Size and type of an object; null when there is none. */
  head(key: string): Promise<{ sizeBytes: number; contentType: string | null } | null>
  /** Removes an object. Succeeds when there is none. */
  delete(key: string): Promise<void>
  /** Lets somebody store exactly these bytes: type, size and SHA-256 (hex) are bound by the signature. */
  presignPut(
    key: string,
    options: { contentType: string; sizeBytes: number; sha256: string; expiresInSeconds: number },
  ): Promise<PresignedRequest>
  /** Lets somebody download an object for at most 60 seconds, as an attachment called `fileName`. */
  presignGet(
    key: string,
    options: { fileName: string; contentType: string; expiresInSeconds?: number },
  ): Promise<PresignedRequest>
}

/** Longest life of a download link, in seconds. */
export const MAX_DOWNLOAD_SECONDS = 60

const base64FromHex = (hex: string): string =>
  btoa(String.fromCharCode(...(hex.match(/../g) ?? []).map((byte) => parseInt(byte, 16))))

/** `attachment` with an ASCII name for old clients and the real one as RFC 6266 has it. */
export function attachment(fileName: string): string {
  const ascii = fileName.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const encoded = encodeURIComponent(fileName).replace(
    /['()*!]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}`
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error &&
  (['NoSuchKey', 'NotFound'].includes(error.name) ||
    (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode === 404)

const loadSdk = async () => {
  const [s3, presigner] = await Promise.all([import('@aws-sdk/client-s3'), import('@aws-sdk/s3-request-presigner')])
  return { ...s3, getSignedUrl: presigner.getSignedUrl }
}

/** Builds a store over one bucket. Nothing is loaded or connected before its first use. */
export function createObjectStore(options: ObjectStoreOptions): ObjectStore {
  const { bucket: Bucket } = options
  let loaded: ReturnType<typeof connect> | undefined
  const s3 = () => (loaded ??= connect())

  async function connect() {
    const sdk = await loadSdk()
    const client = (endpoint: string): S3Client =>
      new sdk.S3Client({
        endpoint,
        region: options.region,
        forcePathStyle: true,
        // Given here, because the SDK would look for them in files that functions have no access to.
        credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
        // The default, CRC32 in a trailer, fails on Deno 2.1.4 and on several S3 implementations.
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
        maxAttempts: 3,
        // All that follows are the defaults. What is not given here the SDK looks up in files of the home folder, which
        // a function must not read and may not even be able to name.
        retryMode: 'standard',
        defaultsMode: 'legacy',
        useArnRegion: false,
        useDualstackEndpoint: false,
        useFipsEndpoint: false,
        disableS3ExpressSessionAuth: false,
        authSchemePreference: [],
        sigv4aSigningRegionSet: [],
        userAgentAppId: 'bulkhead',
        disableClockSkewCorrection: false,
      })
    const inner = client(options.endpoint)
    return { ...sdk, client: inner, presigning: options.publicEndpoint ? client(options.publicEndpoint) : inner }
  }
  const expiry = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString()

  return {
    async put(Key, Body, { contentType, sha256 }) {
      const { client, PutObjectCommand } = await s3()
      await client.send(
        new PutObjectCommand({
          Bucket,
          Key,
          Body,
          ContentType: contentType,
          ContentLength: Body.length,
          ChecksumSHA256: base64FromHex(sha256),
        }),
      )
    },

    async get(Key, signal) {
      const { client, GetObjectCommand } = await s3()
      try {
        const { Body, ContentLength } = await client.send(
          new GetObjectCommand({ Bucket, Key }),
          signal ? { abortSignal: signal } : {},
        )
        return { stream: Body as unknown as AsyncIterable<Uint8Array>, sizeBytes: ContentLength ?? null }
      } catch (error) {
        if (isMissing(error)) throw new ObjectMissingError('There is no such object.', { cause: error })
        throw error
      }
    },

    async head(Key) {
      const { client, HeadObjectCommand } = await s3()
      try {
        const { ContentLength, ContentType } = await client.send(new HeadObjectCommand({ Bucket, Key }))
        return { sizeBytes: ContentLength ?? 0, contentType: ContentType ?? null }
      } catch (error) {
        if (isMissing(error)) return null
        throw error
      }
    },

    async delete(Key) {
      const { client, DeleteObjectCommand } = await s3()
      try {
        await client.send(new DeleteObjectCommand({ Bucket, Key }))
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    },

    async presignPut(Key, { contentType, sizeBytes, sha256, expiresInSeconds }) {
      const { presigning, getSignedUrl, PutObjectCommand } = await s3()
      const checksum = base64FromHex(sha256)
      const command = new PutObjectCommand({
        Bucket,
        Key,
        ContentType: contentType,
        ContentLength: sizeBytes,
        ChecksumSHA256: checksum,
      })
      const url = await getSignedUrl(presigning, command, {
        expiresIn: expiresInSeconds,
        // As headers and signed: in the query they would be promises that nobody checks.
        signableHeaders: new Set(['host', 'content-type', 'content-length']),
        unhoistableHeaders: new Set(['x-amz-checksum-sha256']),
      })
      return {
        url,
        method: 'PUT',
        headers: {
          'content-type': contentType,
          'content-length': String(sizeBytes),
          'x-amz-checksum-sha256': checksum,
        },
        expiresAt: expiry(expiresInSeconds),
      }
    },

    async presignGet(Key, { fileName, contentType, expiresInSeconds = MAX_DOWNLOAD_SECONDS }) {
      const { presigning, getSignedUrl, GetObjectCommand } = await s3()
      const seconds = Math.min(expiresInSeconds, MAX_DOWNLOAD_SECONDS)
      const command = new GetObjectCommand({
        Bucket,
        Key,
        ResponseContentDisposition: attachment(fileName),
        ResponseContentType: contentType,
      })
      return {
        url: await getSignedUrl(presigning, command, { expiresIn: seconds }),
        method: 'GET',
        headers: {},
        expiresAt: expiry(seconds),
      }
    },
  }
}

/** The store that the environment names (`S3_*`). @throws Error naming what is missing. */
export function objectStoreFromEnv(env: Env): ObjectStore {
  const publicEndpoint = optional(env, 'S3_PUBLIC_ENDPOINT')
  return createObjectStore({
    endpoint: required(env, 'S3_ENDPOINT'),
    ...(publicEndpoint ? { publicEndpoint } : {}),
    region: optional(env, 'S3_REGION') ?? 'auto',
    bucket: required(env, 'S3_BUCKET'),
    accessKeyId: required(env, 'S3_ACCESS_KEY_ID'),
    secretAccessKey: required(env, 'S3_SECRET_ACCESS_KEY'),
  })
}
