// The fixed keys of `supabase start`. They are public, the same on every machine, and therefore good for loopback only.

export const PUBLISHABLE_KEY = 'sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH'
export const SECRET_KEY = 'sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz'

/** Verifies HS256 tokens: the two legacy keys below, and tokens that projects sign themselves with the shared secret. */
export const JWT_SECRET = 'super-secret-jwt-token-with-at-least-32-characters-long'

/** {"iss":"supabase-demo","role":"anon","exp":1983812996}, signed with JWT_SECRET. */
export const ANON_KEY =
  'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24iLCJleHAiOjE5ODM4MTI5OTZ9.CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0'
/** The same for the role service_role. */
export const SERVICE_ROLE_KEY =
  'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6InNlcnZpY2Vfcm9sZSIsImV4cCI6MTk4MzgxMjk5Nn0.EGIM96RAZx35lJzdJsyH-qQwv8Hdp7fsn3W0YpN81IU'

export const S3_ACCESS_KEY_ID = '625729a08b95bf1b7ff351a663f3a23c'
export const S3_SECRET_ACCESS_KEY = '850181e4652dd023b7a98c58ae0d2d34bd487ee0cc3254aed6eda37307425907'
export const S3_REGION = 'local'

export type StackKeys = {
  publishable: string
  secret: string
  /** Legacy HS256 keys. */
  anon: string
  serviceRole: string
  jwtSecret: string
  s3: { accessKeyId: string; secretAccessKey: string; region: string }
}

export const LOCAL_KEYS: StackKeys = {
  publishable: PUBLISHABLE_KEY,
  secret: SECRET_KEY,
  anon: ANON_KEY,
  serviceRole: SERVICE_ROLE_KEY,
  jwtSecret: JWT_SECRET,
  s3: { accessKeyId: S3_ACCESS_KEY_ID, secretAccessKey: S3_SECRET_ACCESS_KEY, region: S3_REGION },
}
