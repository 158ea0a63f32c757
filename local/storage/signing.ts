import { createHmac } from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { StorageError } from './errors.ts'

export type DownloadGrant = { url: string; exp: number }
export type UploadGrant = { url: string; owner: string | null; upsert: boolean; exp: number }

/** Makes and checks the tokens of signed URLs. `url` is always `<bucket>/<key>`. */
export interface UrlSigner {
  /** @param expiresIn seconds */
  signDownload(url: string, expiresIn: number): Promise<string>
  signUpload(url: string, grant: { owner: string | null; upsert: boolean }): Promise<string>
  /** @throws StorageError `InvalidJWT` if forged or expired, `InvalidSignature` if it is for something else */
  verifyDownload(token: string, url: string): Promise<DownloadGrant>
  /** @throws StorageError as `verifyDownload` */
  verifyUpload(token: string, url: string): Promise<UploadGrant>
}

/** Signed upload URLs last two hours, as on the platform. */
const UPLOAD_EXPIRES_IN = 2 * 60 * 60

/**
 * A signer whose tokens look like the platform's (HS256, `url` claim). Each purpose has its own key, derived from the
 * secret: a download token is no upload token, and neither is a bearer token of a user.
 */
export function createUrlSigner(secret: string): UrlSigner {
  const keys = { download: derive(secret, 'download'), upload: derive(secret, 'upload') }

  const sign = async (purpose: keyof typeof keys, claims: Record<string, unknown>, expiresIn: number) => {
    const now = Math.floor(Date.now() / 1000)
    const token = new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    return await token
      .setIssuedAt(now)
      .setExpirationTime(now + expiresIn)
      .sign(keys[purpose])
  }
  const verify = async (purpose: keyof typeof keys, token: string, url: string) => {
    const { payload } = await jwtVerify(token, keys[purpose], { algorithms: ['HS256'], requiredClaims: ['exp'] }).catch(
      (error: unknown) => {
        const message = error instanceof errors.JOSEError ? error.message : undefined
        throw new StorageError('InvalidJWT', message)
      },
    )
    if (payload['url'] !== url) throw new StorageError('InvalidSignature')
    return { ...payload, url, exp: payload.exp ?? 0 } as { url: string; exp: number } & Record<string, unknown>
  }

  return {
    signDownload: (url, expiresIn) => sign('download', { url }, expiresIn),
    signUpload: (url, { owner, upsert }) => sign('upload', { url, owner, upsert }, UPLOAD_EXPIRES_IN),
    verifyDownload: (token, url) => verify('download', token, url),
    async verifyUpload(token, url) {
      const payload = await verify('upload', token, url)
      const { owner } = payload
      return { ...payload, owner: typeof owner === 'string' ? owner : null, upsert: payload['upsert'] === true }
    },
  }
}

function derive(secret: string, purpose: string): Uint8Array {
  return createHmac('sha256', secret).update(`storage signed url: ${purpose}`).digest()
}
