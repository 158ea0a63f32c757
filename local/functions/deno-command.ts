import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const projectRoot = fileURLToPath(new URL('../..', import.meta.url))

/** Variables of the environment that hold addresses a function calls. */
const ADDRESS_VARIABLES = ['SUPABASE_URL', 'S3_ENDPOINT', 'OPENAI_BASE_URL', 'RERANK_URL', 'AGENT_BASE_URL']

/** The function whose tools, hooks and MCP servers may be anywhere: where to, its own egress guard decides. */
const REACHES_OUT = 'api'
/** Files that packages read at run time: the grammar of the SQL parser. */
const READ_FILES = ['node_modules/libpg-query/wasm']

/**
 * The Deno that runs the functions: `denoBin`, else the one npm installed. Its unpacked binary is preferred to the
 * start script in node_modules/.bin, which costs a Node start each time.
 */
export function denoBinary(denoBin?: string): string {
  if (denoBin) return denoBin
  const binary = join(projectRoot, 'node_modules/deno/deno')
  return existsSync(binary) ? binary : join(projectRoot, 'node_modules/.bin/deno')
}

/**
 * What a function may connect to, as `host:port`: the addresses in its environment, and what `BULKHEAD_ALLOW_NET` adds
 * (comma-separated, as for Deno's `--allow-net`). The platform has no such limit, so it is a safety net here and not
 * something to rely on.
 */
export function allowedHosts(env: Record<string, string>): string[] {
  const hosts = new Set<string>()
  for (const name of ADDRESS_VARIABLES) {
    const value = env[name]
    if (!value || !URL.canParse(value)) continue
    const url = new URL(value)
    hosts.add(`${url.hostname}:${url.port || (url.protocol === 'http:' ? 80 : 443)}`)
  }
  if (env.OPENAI_API_KEY && !env.OPENAI_BASE_URL) hosts.add('api.openai.com:443')
  for (const host of env.BULKHEAD_ALLOW_NET?.split(',') ?? []) if (host.trim()) hosts.add(host.trim())
  return [...hosts]
}

/**
 * Arguments of the process that serves one function, with the fewest permissions: no files but the grammar of SQL, no
 * programs, no foreign code. All of the environment is readable because the process is given only what is meant for it. Port 0 lets the
 * system choose; Deno prints the choice.
 */
export function denoArguments(entry: string, hosts: string[]): string[] {
  const reachesOut = basename(dirname(entry)) === REACHES_OUT
  const net = hosts.length > 0 ? [`--allow-net=${hosts.join(',')}`] : []
  return [
    'serve',
    '--host',
    '127.0.0.1',
    '--port',
    '0',
    '--node-modules-dir=manual',
    '--cached-only',
    '--no-lock',
    '--no-prompt',
    '--allow-env',
    ...(reachesOut ? ['--allow-net'] : net),
    ...(reachesOut ? [`--allow-read=${READ_FILES.map((path) => join(projectRoot, path)).join(',')}`] : []),
    '--allow-sys=osRelease', // the S3 client puts it into its user agent
    entry,
  ]
}

/** The port in Deno's "Listening on http://127.0.0.1:PORT/", or null for any other line. */
export function listeningPort(line: string): number | null {
  const match = /^deno serve: Listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)
  return match ? Number(match[1]) : null
}

/**
 * Deno 2.9 says once per process that a request's signal aborts when its answer is complete. So it does on the
 * platform, which is why we leave it so; whoever writes a function cannot act on the line.
 */
export function isDenoNoise(line: string): boolean {
  return line.startsWith('Deno.serve: request.signal aborts on successful responses')
}
