import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startGuard, type ProcessGuard } from '../process/guard.ts'
import { watchFolder } from '../process/watch-folder.ts'
import { discoverFunctions } from './discover.ts'
import { forward } from './forward.ts'
import { startFunctionProcess, type FunctionProcess } from './function-process.ts'

export type FunctionsOptions = {
  /** The folder of the functions, normally supabase/functions. */
  root: string
  /** The whole environment of the functions; nothing of this process's own reaches them. */
  env: Record<string, string>
  /** Another Deno than the installed 2.9.5, e.g. 2.1.4, which is what the hosted Edge Runtime is built on. */
  denoBin?: string | undefined
  /** Deno's cache folder, which all stacks may share. Default: .local/deno in this repository. */
  denoDir?: string
  /** Start a function with its first request instead of at once. */
  onDemand?: boolean
  /** Reload a function when its files, or shared ones, change; start new ones. */
  watch?: boolean
  /** Per function what config.toml says. A function that it does not name has its tokens checked, as on the platform. */
  settings?: Record<string, { verifyJwt: boolean }>
  /** Checks a user's or a legacy key's token; rejects a bad one. Needed where `verifyJwt` holds. */
  verifyToken?: (token: string) => Promise<unknown>
  guard?: ProcessGuard
  log: (line: string) => void
}

export interface FunctionsRunner {
  /** Answers requests to `/functions/v1/<name>/...`; the function sees `/<name>/...`, as on the platform. */
  fetch(request: Request): Promise<Response>
  /** Names and process ids of those that have been started. */
  readonly functions: { name: string; pid: number | undefined }[]
  /** Resolves when every function has started or turned out not to start; gives the names of the latter. */
  ready(): Promise<string[]>
  stop(): Promise<void>
}

const DENO_DIR = fileURLToPath(new URL('../../.local/deno', import.meta.url))

/** Starts a Deno process for each function, all at once or each when it is first asked. Requests that come early wait for theirs. */
export function startFunctions(options: FunctionsOptions): FunctionsRunner {
  const root = resolve(options.root)
  const guard = options.guard ?? startGuard()
  const running = new Map<string, FunctionProcess>()
  const idle = new Set<string>()
  const start = (name: string) => {
    idle.delete(name)
    const log = (line: string) => options.log(`[${name}] ${line}`)
    const { env, denoBin, watch = false } = options
    const denoDir = options.denoDir ?? DENO_DIR
    running.set(name, startFunctionProcess({ name, root, env, denoBin, denoDir, watch, guard, log }))
  }

  const onChange = (paths: string[]) => {
    const names = discoverFunctions(root)
    const folders = new Set(paths.map((path) => path.split('/')[0] ?? ''))
    const shared = [...folders].some((folder) => folder.startsWith('_') || folder.startsWith('deno.'))
    for (const [name, child] of running) {
      if (names.includes(name)) continue
      running.delete(name)
      void child.stop()
    }
    for (const name of idle) if (!names.includes(name)) idle.delete(name)
    for (const name of names) {
      if (idle.has(name)) continue
      const child = running.get(name)
      if (!child) {
        options.log(`[${name}] new function`)
        start(name)
      } else if (shared || folders.has(name)) {
        options.log(`[${name}] reloading`)
        void child.reload()
      }
    }
  }

  for (const name of discoverFunctions(root)) {
    if (options.onDemand) idle.add(name)
    else start(name)
  }
  const unwatch = options.watch ? watchFolder(root, onChange) : () => {}

  return {
    get functions() {
      return [...running].map(([name, child]) => ({ name, pid: child.pid }))
    },
    async fetch(request) {
      const { pathname, search } = new URL(request.url)
      const match = /^\/functions\/v1\/([^/]+)(\/.*)?$/.exec(pathname)
      const name = match?.[1] ?? ''
      if (idle.has(name)) start(name)
      const child = running.get(name)
      if (!child) return failure(404, 'NOT_FOUND', 'Requested function was not found')
      const refusal = await checkToken(request, options.settings?.[name]?.verifyJwt ?? true, options.verifyToken)
      if (refusal) return refusal

      const lease = await child.acquire()
      const down = () => failure(503, 'BOOT_ERROR', 'Function failed to start (please check logs)')
      if (!lease) return down()
      try {
        return await forward(request, lease.port, `/${name}${match?.[2] ?? ''}${search}`, lease.done)
      } catch {
        return down()
      }
    },
    async ready() {
      const checks = [...running].map(async ([name, child]) => {
        const lease = await child.acquire()
        lease?.done()
        return lease ? [] : [name]
      })
      return (await Promise.all(checks)).flat()
    },
    async stop() {
      unwatch()
      await Promise.all([...running.values()].map((child) => child.stop()))
      if (!options.guard) guard.stop()
    },
  }
}

/** The platform's gateway check: any token of the project will do, but one there must be. */
async function checkToken(
  request: Request,
  required: boolean,
  verifyToken: FunctionsOptions['verifyToken'],
): Promise<Response | null> {
  if (!required || request.method === 'OPTIONS') return null
  const authorization = request.headers.get('authorization')
  if (!authorization) return failure(401, 401, 'Missing authorization header')
  try {
    if (!verifyToken) throw new Error('no way to check tokens')
    await verifyToken(authorization.replace(/^bearer\s+/i, ''))
    return null
  } catch {
    return failure(401, 401, 'Invalid JWT')
  }
}

function failure(status: number, code: string | number, message: string): Response {
  return Response.json({ code, message }, { status })
}
