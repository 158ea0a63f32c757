import { readFileSync } from 'node:fs'
import { peakMemory } from '../support/memory.ts'
import type { ProcessUse } from './results.ts'

/** Ticks per second in which Linux shows processor time to programs, on every architecture Node runs on. */
const TICKS_PER_SECOND = 100

/** Processor time of all threads so far, user and system, out of the text of /proc/<pid>/stat. Milliseconds. */
export function cpuMsOf(stat: string): number {
  // The name of the program, in parentheses, may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [user, system] = [Number(fields[11]), Number(fields[12])]
  if (!Number.isFinite(user + system)) throw new Error('This is no line of /proc/<pid>/stat.')
  return ((user + system) * 1000) / TICKS_PER_SECOND
}

/** Memory of a process that is in RAM, out of the text of /proc/<pid>/status. Megabytes. */
export function rssMegabytesOf(status: string): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]
  if (kilobytes === undefined) throw new Error('There is no VmRSS in this status.')
  return Number(kilobytes) / 1024
}

/** What a process has used so far, or null: it is gone, or this is not Linux. */
export function processUse(pid: number): ProcessUse | null {
  try {
    return {
      cpuMs: cpuMsOf(readFileSync(`/proc/${pid}/stat`, 'utf8')),
      rssMegabytes: rssMegabytesOf(readFileSync(`/proc/${pid}/status`, 'utf8')),
    }
  } catch {
    return null
  }
}

/** The process of a function of the stack, or null: there is none, or this is not Linux. */
export const functionPid = (stackPid: number, name: string): number | null =>
  peakMemory(stackPid).find((process) => process.name === `function ${name}`)?.pid ?? null
