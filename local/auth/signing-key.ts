import { readFileSync, renameSync, writeFileSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { generateSigningKey, type SigningKey } from './tokens.ts'

/** Reads the project's signing key, or makes it once: with a new key every token given out before is void. */
export const loadSigningKey = async (file: string): Promise<SigningKey> => {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    const key = await generateSigningKey()
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(`${file}.new`, `${JSON.stringify(key, null, 2)}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
    return key
  }
  try {
    const key = JSON.parse(text) as SigningKey
    if (key.kty === 'EC' && key.crv === 'P-256' && key.d && key.kid) return key
  } catch {
    // Told below: what is wrong with the text does not matter.
  }
  throw new Error(
    `${file} is not a private ES256 key with a kid. Delete it to have a new one made (this signs everybody out).`,
  )
}
