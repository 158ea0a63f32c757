import { gatewayRefusal, type Refusal } from '../auth/caller.ts'

const answer = (status: number, code: string, message: string, details: string | null = null): Response =>
  Response.json(
    { code, details, hint: null, message },
    status === 401
      ? {
          status,
          headers: {
            'www-authenticate': `Bearer error="invalid_token", error_description=${JSON.stringify(message)}`,
          },
        }
      : { status },
  )

/** PostgREST's answer to a body that is no JSON it could read. */
export const unreadableBody = (): Response => answer(400, 'PGRST102', 'Empty or invalid json')

/** PostgREST's answer to a request that is refused for its credentials. */
export const restRefusal = (refusal: Refusal): Response => {
  switch (refusal.because) {
    case 'malformed':
      return answer(401, 'PGRST301', `Expected 3 parts in JWT; got ${refusal.parts}`)
    case 'expired':
      return answer(401, 'PGRST303', 'JWT expired')
    case 'not_yet_valid':
      return answer(401, 'PGRST303', 'JWT not yet valid')
    case 'future':
      return answer(401, 'PGRST303', 'JWT issued at future')
    case 'role':
      // PostgREST connects as `authenticator`, which may become the three request roles and no other.
      return answer(403, '42501', `permission denied to set role ${JSON.stringify(refusal.role)}`)
    default:
      return (
        gatewayRefusal(refusal) ??
        answer(401, 'PGRST301', 'No suitable key or wrong key type', 'None of the keys was able to decode the JWT')
      )
  }
}
