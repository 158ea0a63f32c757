import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/**
 * What tells the process that has this pid now from any other that had or will have it: its start time (on Linux with
 * the id of the boot it is counted from). Returns null when there is no such process.
 */
export function processIdentity(pid: number): string | null {
  if (process.platform === 'linux') return linuxIdentity(pid)
  try {
    const started = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return started.trim() || null
  } catch {
    return null
  }
}

/** The process that started this one, and its command line; null when there is no such process, or nobody can say. */
export function parentOf(pid: number): { pid: number; command: string } | null {
  const ask = (columns: string, of: number) =>
    execFileSync('ps', ['-o', columns, '-p', String(of)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  try {
    if (process.platform !== 'linux') {
      const parent = Number(ask('ppid=', pid))
      return { pid: parent, command: ask('command=', parent) }
    }
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    return { pid: parent, command: readFileSync(`/proc/${parent}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() }
  } catch {
    return null
  }
}

function linuxIdentity(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces and parentheses itself, so fields are counted from its end:
    // state is field 3, the start time in clock ticks is field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z' || fields[0] === 'X') return null
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${boot}:${fields[19]}`
  } catch {
    return null
  }
}
