import { HARBOR } from '../support/http.ts'

/** Every flow must pass with the tenant header and, because BULKHEAD_DEFAULT_TENANT is set, without it. */
export const CALLERS: [name: string, headers: Record<string, string>][] = [
  ['with x-tenant-id', { 'x-tenant-id': HARBOR }],
  ['without tenant headers', {}],
]

/** Environment of the functions in the flows. */
export const FLOW_ENV = { BULKHEAD_DEFAULT_TENANT: HARBOR }
