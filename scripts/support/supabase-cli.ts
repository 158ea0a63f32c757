import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const LINUX_X64 = fileURLToPath(new URL('../../node_modules/@supabase/cli-linux-x64/bin/supabase', import.meta.url))

/**
 * The Supabase CLI. The package `supabase` wants a program for every platform, and npm lacks some of 3.1.0, so that
 * `npm ci` refuses it: we depend on the program for Linux x64 itself. Elsewhere an installed `supabase` serves.
 */
export const supabaseCli = (): string => (existsSync(LINUX_X64) ? LINUX_X64 : 'supabase')
