import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** Checksums that can be computed while bytes pass by. */
export type Algorithm = 'md5' | 'sha1' | 'sha256' | 'crc32'

/** Finished checksums; absent are those nobody asked for. */
export type Digests = Partial<Record<Algorithm, Buffer>>

/** Computes several checksums in one pass over the data. */
export function createDigests(algorithms: Iterable<Algorithm>): { update(chunk: Uint8Array): void; finish(): Digests } {
  const wanted = new Set(algorithms)
  const hashes = [...wanted].filter((name) => name !== 'crc32').map((name) => ({ name, hash: createHash(name) }))
  let crc = 0
  return {
    update(chunk) {
      for (const { hash } of hashes) hash.update(chunk)
      if (wanted.has('crc32')) crc = crc32(chunk, crc)
    },
    finish() {
      const digests: Digests = {}
      for (const { name, hash } of hashes) digests[name] = hash.digest()
      if (wanted.has('crc32')) {
        digests.crc32 = Buffer.alloc(4)
        digests.crc32.writeUInt32BE(crc)
      }
      return digests
    },
  }
}
