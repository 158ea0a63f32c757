import { readFileSync } from 'node:fs'

export type ProcessMemory = { name: string; pid: number; peakMegabytes: number }

/**
 * The highest memory use so far (VmHWM) of a process and of the processes it started, and what each of them is. Linux
 * only: elsewhere the list is empty.
 */
export function peakMemory(pid: number): ProcessMemory[] {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const kilobytes = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0)
    const own = { name: nameOf(pid), pid, peakMegabytes: kilobytes / 1024 }
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    return [
      own,
      ...children
        .split(' ')
        .filter(Boolean)
        .flatMap((child) => peakMemory(Number(child))),
    ]
  } catch {
    return []
  }
}

function nameOf(pid: number): string {
  const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ')
  const functionName = /functions\/([\w-]+)\/index\.ts/.exec(command)?.[1]
  if (functionName) return `function ${functionName}`
  if (command.includes('local/main.ts')) return 'stack (database, gateway)'
  if (command.includes('worker/main.ts')) return 'worker'
  return command.startsWith('/bin/sh') ? 'process guard' : command.slice(0, 40)
}
