import { mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from 'node:fs'
import { setPriority } from 'node:os'
import path from 'node:path'
import process from 'node:process'
import type { ProcessGuard } from '../process/guard.ts'
import { processIdentity } from '../process/identity.ts'
import { launch, type LaunchedProcess } from '../process/launch.ts'
import { readConsoleFiles, type ConsoleFile } from './files.ts'
import { consoleHash } from './sources.ts'

export type ConsoleBuildOptions = {
  /** The repository. */
  rootDir: string
  /** Where builds are kept by the hash of their sources. Default: node_modules/.cache/bulkhead-console. */
  cacheDir?: string | undefined
  publishableKey: string
  guard: ProcessGuard
}

export type ConsoleBuild = {
  /** Of the sources that were built. */
  hash: string
  files: Map<string, ConsoleFile>
  /** False: it was there already. */
  isNew: boolean
}

export interface ConsoleBuilder {
  /** The hash of the sources as they are now. @throws when they cannot be read */
  hash(): string
  /** Gives the build of the present sources, and makes it if need be. @throws Error with what the build has printed */
  build(): Promise<ConsoleBuild>
  /** Ends a build under way; it then rejects. */
  stop(): Promise<void>
}

/** The present build, and some for those who switch between branches. */
const KEPT = 4
const SHOWN_LINES = 40
const STOP_GRACE_MS = 500
const BUILDING = /^building-(\d+)-/

let count = 0

/** Builds the console in a process of its own. Several may do so at once: each builds to a folder of its own. */
export const createConsoleBuilder = (options: ConsoleBuildOptions): ConsoleBuilder => {
  const { rootDir, publishableKey, guard } = options
  const cacheDir = options.cacheDir ?? path.join(rootDir, 'node_modules/.cache/bulkhead-console')
  let child: LaunchedProcess | undefined
  let stopped = false

  const runBuild = async (folder: string): Promise<void> => {
    if (stopped) throw new Error('The stack is stopping.')
    const lines: string[] = []
    child = launch({
      command: process.execPath,
      args: [path.join(rootDir, 'web/build/main.ts'), '--local', '--out', folder],
      cwd: rootDir,
      env: { NO_COLOR: '1', VITE_SUPABASE_PUBLISHABLE_KEY: publishableKey },
      guard,
      log: (line) => lines.push(line),
    })
    giveWay(child.pid)
    const { code, signal } = await child.exited
    if (code === 0) return
    throw new Error(
      [...lines.slice(-SHOWN_LINES), `The build ended with ${signal ?? `code ${code}`}.`].join('\n').trim(),
    )
  }

  const hash = () => consoleHash(rootDir, publishableKey)

  return {
    hash,
    async build() {
      const wanted = hash()
      const kept = path.join(cacheDir, wanted)
      const present = readKept(kept)
      if (present) return { hash: wanted, files: present, isNew: false }
      mkdirSync(cacheDir, { recursive: true })
      const folder = path.join(cacheDir, `building-${process.pid}-${++count}`)
      try {
        await runBuild(folder)
        const files = readConsoleFiles(folder)
        // Changed meanwhile, it is of neither state, and no name fits it.
        if (hash() === wanted) keep(folder, kept)
        return { hash: wanted, files, isNew: true }
      } finally {
        rmSync(folder, { recursive: true, force: true })
        removeOld(cacheDir)
      }
    },
    async stop() {
      stopped = true
      await child?.stop(STOP_GRACE_MS)
    },
  }
}

/** Nobody waits for the console as long as nothing else answers. */
const giveWay = (pid: number | undefined): void => {
  try {
    if (pid !== undefined) setPriority(pid, 10)
  } catch {
    // it then shares the processors as an equal
  }
}

const readKept = (folder: string): Map<string, ConsoleFile> | undefined => {
  try {
    const files = readConsoleFiles(folder)
    utimesSync(folder, new Date(), new Date())
    return files
  } catch {
    return undefined // not there, or being removed by another stack
  }
}

const keep = (folder: string, kept: string): void => {
  try {
    renameSync(folder, kept)
  } catch {
    // another stack was quicker
  }
}

/** Removes all but the latest builds, and what builders have left that are no more. */
const removeOld = (cacheDir: string): void => {
  const age = (name: string) => statSync(path.join(cacheDir, name), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const names = readdirSync(cacheDir)
  const left = names.filter((name) => {
    const [, pid] = BUILDING.exec(name) ?? []
    return pid !== undefined && processIdentity(Number(pid)) === null
  })
  const builds = names.filter((name) => !BUILDING.test(name)).sort((a, b) => age(b) - age(a))
  for (const name of [...left, ...builds.slice(KEPT)]) {
    rmSync(path.join(cacheDir, name), { recursive: true, force: true })
  }
}
