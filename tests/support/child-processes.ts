import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import process from 'node:process'

/** The pids of the processes that a process has started and that have not ended. */
export function childrenOf(pid: number): number[] {
  const words =
    process.platform === 'linux'
      ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
      : execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
          .split('\n')
          .map((line) => line.trim().split(/\s+/))
          .filter(([, parent]) => Number(parent) === pid)
          .map(([child]) => child ?? '')
  return words.filter((word) => word.trim() !== '').map(Number)
}
