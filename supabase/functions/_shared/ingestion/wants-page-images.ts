import { optional, type Env } from '../env.ts'

/** Whether pages of PDFs are to be drawn: `PAGE_IMAGES`, `on` or `off` (the default). @throws Error for anything else. */
export function wantsPageImages(env: Env): boolean {
  const value = optional(env, 'PAGE_IMAGES') ?? 'off'
  if (value !== 'on' && value !== 'off') throw new Error('The environment variable PAGE_IMAGES must be on or off.')
  return value === 'on'
}
