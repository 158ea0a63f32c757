/** How urgent work is to the tenant whose it is. Between tenants it changes nothing, and nothing comes before `normal`. */
export const PRIORITIES = ['normal', 'low'] as const
export type Priority = (typeof PRIORITIES)[number]
