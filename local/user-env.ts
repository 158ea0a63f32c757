import { existsSync, readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/** Settings that functions and worker take from the shell the stack was started in. */
const FROM_SHELL = [
  'OPENAI_BASE_URL',
  'OPENAI_API_KEY',
  'CHAT_MODEL',
  'CHAT_CONTEXT_WINDOW',
  'AGENT_DEFAULT_MODEL',
  'DEFAULT_MAX_CONTEXT_TOKENS',
  'KB_DEFAULT_TOP_K',
  'KB_DEFAULT_MAX_CONTEXT_TOKENS',
  'EMBEDDING_MODEL',
  'EMBEDDING_DIMENSIONS',
  'RERANK_URL',
  'RERANK_API_KEY',
  'RERANK_MODEL',
  'RERANK_TIMEOUT_MS',
  'AGENT_BASE_URL',
  'AGENT_API_KEY',
  'BULKHEAD_DEFAULT_TENANT',
  'BULKHEAD_CORS_ORIGINS',
  'RATE_LIMIT_PER_MINUTE',
  'RATE_LIMIT_ADDRESS_HEADER',
  'MAX_OPEN_STREAMS',
  'BULKHEAD_ALLOW_NET',
  'BULKHEAD_EGRESS_ALLOW_HOSTS',
  'BULKHEAD_EGRESS_DENY_HOSTS',
  'BULKHEAD_EGRESS_PORTS',
  'BULKHEAD_SECRETS_KEY',
  'RUN_LEASE_SECONDS',
  'STREAM_LIMIT_SECONDS',
  'WORKER_RUN_CONCURRENCY',
  'WORKER_RUN_ADAPTIVE',
  'WORKER_RUN_SECONDS',
  'WORKER_FUNCTION_SECONDS',
  'WORKER_FUNCTION_PLACES',
  'WORKER_FUNCTION_MAX_BYTES',
  'PAGE_IMAGES',
  'PAGE_IMAGE_DPI',
  'PAGE_IMAGE_MAX_PAGES',
  'WEB_SCRAPE_URL',
  'WEB_SCRAPE_API_KEY',
  'WEB_SEARCH_URL',
  'WEB_SEARCH_API_KEY',
  'CODE_EXECUTE_URL',
  'CODE_EXECUTE_API_KEY',
  'S3_ENDPOINT',
  'S3_PUBLIC_ENDPOINT',
  'S3_REGION',
  'S3_BUCKET',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
  // How to get out of a company's network, for those who call a model elsewhere.
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'NODE_EXTRA_CA_CERTS',
  'DENO_CERT',
  'DENO_TLS_CA_STORE',
]

/**
 * What the user sets for functions and worker: the file that the Supabase CLI reads too (supabase/functions/.env; names
 * that begin with SUPABASE_ are reserved there and here), then the shell, which wins.
 */
export function userEnvironment(shell: NodeJS.ProcessEnv, file: string): Record<string, string> {
  const settings: Record<string, string> = {}
  if (existsSync(file)) {
    for (const [name, value] of Object.entries(parseEnv(readFileSync(file, 'utf8')))) {
      if (value !== undefined && !name.startsWith('SUPABASE_')) settings[name] = value
    }
  }
  for (const name of FROM_SHELL) {
    const value = shell[name]
    if (value) settings[name] = value
  }
  return settings
}
