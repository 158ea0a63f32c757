import path from 'node:path'
import { securityHeaders } from '../../web/build/content-security-policy.ts'
import { watchFolder } from '../process/watch-folder.ts'
import { createConsoleBuilder, type ConsoleBuild, type ConsoleBuildOptions } from './build.ts'
import { answerWithFile } from './files.ts'
import { answerBuilding, answerFailed } from './pages.ts'
import { isConsoleSource } from './sources.ts'

export type ConsoleOptions = ConsoleBuildOptions & {
  /** Origins that the console may reach besides its own: the stack by its other name, and where files are uploaded to. */
  origins: () => string[]
  /** Build again when the files change. */
  watch?: boolean
  log: (line: string) => void
}

export interface ConsoleServer {
  /** Answers GET and HEAD of the console's files; null for anything else. */
  fetch(request: Request): Response | null
  /** Whether it can be shown, or shows why not. */
  readonly settled: boolean
  /** Resolves when the first build is there, with null, or has failed, with what it printed. */
  ready(): Promise<string | null>
  stop(): Promise<void>
}

/** Builds the console, beside whatever else is being started, and serves it: at once a page that says so, then itself. */
export const startConsole = (options: ConsoleOptions): ConsoleServer => {
  const { watch = false, log } = options
  const builder = createConsoleBuilder(options)
  let current: ConsoleBuild | undefined
  let problem: string | null = null
  let settled = false
  let stopped = false
  let underWay: Promise<void> | undefined

  const buildOnce = async (): Promise<void> => {
    const startedAt = Date.now()
    try {
      current = await builder.build()
      problem = null
      if (current.isNew) log(`built in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`)
    } catch (error) {
      if (stopped) return
      problem = error instanceof Error ? error.message : String(error)
      for (const line of ['could not be built:', ...problem.split('\n')]) log(line)
    }
    settled = true
  }
  /** Builds until what is there is what the files say. */
  const build = async (): Promise<void> => {
    for (let built: string | undefined; !stopped; ) {
      const now = presentHash()
      if (built !== undefined && built === now) return
      await buildOnce()
      if (!watch) return
      built = now
    }
  }
  const presentHash = (): string => {
    try {
      return builder.hash()
    } catch {
      return 'unreadable'
    }
  }
  const begin = () => {
    underWay ??= build().finally(() => (underWay = undefined))
    return underWay
  }

  const first = begin()
  const stops = watch
    ? ['web', 'client'].map((folder) =>
        watchFolder(path.join(options.rootDir, folder), (paths) => {
          if (paths.some((file) => isConsoleSource(`${folder}/${file}`))) void begin()
        }),
      )
    : []

  return {
    fetch(request) {
      if (request.method !== 'GET' && request.method !== 'HEAD') return null
      const { pathname } = new URL(request.url)
      const security = securityHeaders(options.origins())
      if (pathname === '/' || pathname === '/index.html') {
        if (!settled) return answerBuilding(security)
        if (problem !== null) return answerFailed(problem, watch, security)
      }
      const file = current?.files.get(pathname)
      return file ? answerWithFile(request, file, security) : null
    },
    get settled() {
      return settled
    },
    async ready() {
      await first
      return problem
    },
    async stop() {
      stopped = true
      for (const stop of stops) stop()
      await builder.stop()
      await underWay
    },
  }
}
