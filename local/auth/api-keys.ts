import type { StackKeys } from '../keys.ts'
import type { ResolveApiKey, TokenAuthority } from './tokens.ts'

export const createApiKeyResolver = (
  keys: Pick<StackKeys, 'publishable' | 'secret'>,
  tokens: TokenAuthority,
): ResolveApiKey => {
  return async (key) => {
    if (!key) return null
    if (key === keys.publishable) return { role: 'anon', claims: { role: 'anon' } }
    if (key === keys.secret) return { role: 'service_role', claims: { role: 'service_role' } }
    if (key.split('.').length !== 3) return null
    try {
      const claims = await tokens.verify(key)
      // A user's token is not an API key, however valid.
      return claims['role'] === 'anon' || claims['role'] === 'service_role' ? { role: claims['role'], claims } : null
    } catch {
      return null
    }
  }
}
