import { httpAddress, originsOfProject } from './content-security-policy.ts'

/**
 * The Vite mode of the build for the local stack: same origin, the stack's published key, seeded people one click away.
 * (Vite does not take the plain name `local`.)
 */
export const LOCAL_MODE = 'stack'

/**
 * Checks the settings of a build for a host and gives the origins that the console may reach.
 * @param env VITE_SUPABASE_URL, VITE_SUPABASE_PUBLISHABLE_KEY, and optionally VITE_STORE_ORIGIN: where files are
 * uploaded to, when that is neither the project itself nor its S3 endpoint on the platform
 * @throws Error that says what is missing or wrong
 */
export const originsFromSettings = (env: Record<string, string | undefined>): string[] => {
  const { VITE_SUPABASE_URL: url, VITE_SUPABASE_PUBLISHABLE_KEY: key, VITE_STORE_ORIGIN: store } = env
  const missing = [
    ...(url ? [] : ['VITE_SUPABASE_URL (https://YOUR_REF.supabase.co)']),
    ...(key ? [] : ['VITE_SUPABASE_PUBLISHABLE_KEY (sb_publishable_…)']),
  ]
  if (!url || !key) throw new Error(`The console is built for one project. Set ${missing.join(' and ')}.`)
  if (isSecret(key)) {
    throw new Error('VITE_SUPABASE_PUBLISHABLE_KEY is a secret key: everybody who opens the console would have it.')
  }
  const check = <T>(name: string, read: () => T): T => {
    try {
      return read()
    } catch (error) {
      throw new Error(`${name} is ${(error as Error).message}`)
    }
  }
  return [
    ...check('VITE_SUPABASE_URL', () => originsOfProject(url)),
    ...(store ? [check('VITE_STORE_ORIGIN', () => httpAddress(store).origin)] : []),
  ]
}

/** A new secret key, or a legacy one, which is a JWT of the service role. */
const isSecret = (key: string): boolean => {
  if (key.startsWith('sb_secret_')) return true
  const [, payload] = key.split('.')
  if (!payload) return false
  try {
    return JSON.parse(Buffer.from(payload, 'base64url').toString()).role === 'service_role'
  } catch {
    return false
  }
}
