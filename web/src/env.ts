/** True in the build for the local stack: the console has the stack's own origin, and seeded people are offered. */
export const IS_LOCAL: boolean = import.meta.env.MODE === 'stack'

const required = (name: string, value: unknown): string => {
  if (typeof value === 'string' && value !== '') return value
  throw new Error(`${name} was not set when the console was built.`)
}

/** Where the project is and the key that every client may have; never the secret key. */
export const PROJECT: { url: string; publishableKey: string } = {
  url: IS_LOCAL ? location.origin : required('VITE_SUPABASE_URL', import.meta.env['VITE_SUPABASE_URL']),
  publishableKey: required('VITE_SUPABASE_PUBLISHABLE_KEY', import.meta.env['VITE_SUPABASE_PUBLISHABLE_KEY']),
}
