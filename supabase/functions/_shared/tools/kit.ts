import type { Egress } from '../egress/index.ts'
import { egressFromEnv } from '../egress/index.ts'
import type { Env } from '../env.ts'
import { optional, projectSettings } from '../env.ts'
import type { PostJson } from '../hooks/engine.ts'
import type { McpFetch } from '../mcp/transport.ts'
import { objectStoreFromEnv } from '../object-store.ts'
import type { ObjectStore } from '../object-store.ts'
import { secretBoxFromEnv } from '../secrets.ts'
import type { SecretBox } from '../secrets.ts'
import { createToolTokens } from '../tool-tokens.ts'
import type { ToolTokens } from '../tool-tokens.ts'
import { codeSandboxFromEnv, createCodeExecute } from './code-execute.ts'
import type { EgressFetch } from './custom-http.ts'
import { createHttpRequest } from './http-request.ts'
import { egressFetchOf, mcpFetchOf, postJsonOf } from './outside.ts'
import type { Tool } from './types.ts'
import { createWebScrape, webScrapeProviderFromEnv } from './web-scrape.ts'
import { createWebSearch, webSearchProviderFromEnv } from './web-search.ts'

/** What tools are made with: the way out, and the keys. */
export type ToolKit = {
  egress: Egress
  egressFetch: EgressFetch
  mcpFetch: McpFetch
  postJson: PostJson
  secrets: SecretBox
  tokens: ToolTokens
  /** Whether `tokens` can sign: without the signing key MCP servers are called without word of the person. */
  hasSigningKey: boolean
  /** Where page images lie, for people who may read their sources; null: nowhere. */
  pageImages: Pick<ObjectStore, 'get'> | null
  /** Where people reach the project, if it is not the URL that functions use. */
  publicUrl: string | null
  /** Built-in tools that reach out, by name; null where they are not configured. */
  outgoing: Record<'http_request' | 'web_scrape' | 'web_search' | 'code_execute', Tool | null>
}

/**
 * The kit of this deployment.
 * @throws Error naming the first variable that is malformed.
 */
export function toolKitFromEnv(env: Env): ToolKit {
  const settings = projectSettings(env)
  const egress = egressFromEnv(env)
  return {
    egress,
    egressFetch: withOwnTools(egress, `${settings.supabaseUrl}/functions/v1/tools/`),
    mcpFetch: mcpFetchOf(egress),
    postJson: postJsonOf(egress),
    secrets: secretBoxFromEnv(env),
    pageImages: optional(env, 'S3_ENDPOINT') === undefined ? null : objectStoreFromEnv(env),
    publicUrl: optional(env, 'SUPABASE_PUBLIC_URL')?.replace(/\/+$/, '') ?? null,
    hasSigningKey: settings.signingJwk !== null,
    tokens: createToolTokens(settings.signingJwk, settings.issuers[0] ?? ''),
    outgoing: {
      http_request: createHttpRequest(egress),
      web_scrape: createWebScrape(egress, { provider: webScrapeProviderFromEnv(env) }),
      web_search: createWebSearch(egress, webSearchProviderFromEnv(env)),
      code_execute: createCodeExecute(egress, codeSandboxFromEnv(env)),
    },
  }
}

/**
 * The project's own URLs are closed to the egress guard, but for the function that exists to be called as a tool: it takes
 * tool tokens and nothing else. For custom tools only, whose endpoint an admin has named.
 */
function withOwnTools(egress: Egress, ownTools: string): EgressFetch {
  const outside = egressFetchOf(egress)
  const inside = egressFetchOf(egress.trusting(ownTools))
  // Compared as it will be requested, without `..` and the like.
  const isOwn = (url: string) => URL.canParse(url) && new URL(url).href.startsWith(ownTools)
  return (url, request) => (isOwn(url) ? inside : outside)(url, request)
}
