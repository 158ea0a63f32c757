import { createClient, type SupabaseClient } from '@supabase/supabase-js'

/** A running stack. */
export type Target = { url: string; publishableKey: string; secretKey: string }

const PASSWORD = 'bulkhead-demo'
const withoutSession = { auth: { persistSession: false, autoRefreshToken: false } }

/** A client signed in as one of the seeded users. */
export async function signIn(target: Target, email: string): Promise<SupabaseClient> {
  const client = createClient(target.url, target.publishableKey, withoutSession)
  const { error } = await client.auth.signInWithPassword({ email, password: PASSWORD })
  if (error) throw error
  return client
}

/** A client with the secret key, which row-level security does not hold back. */
export function asService(target: Target): SupabaseClient {
  return createClient(target.url, target.secretKey, withoutSession)
}

/** The data of an answer of supabase-js. @throws its error */
export function dataOf<T>(answer: { data: T; error: { message: string } | null }): NonNullable<T> {
  if (answer.error) throw new Error(answer.error.message)
  return answer.data as NonNullable<T>
}
