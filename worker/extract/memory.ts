import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'

const PAGE_BYTES = 4096
const KIB_PER_MIB = 1024

/** Resident memory of another process in MiB; 0 when it is gone or the system will not say. */
export async function residentMemory(pid: number): Promise<number> {
  try {
    if (process.platform === 'linux') {
      const statm = await readFile(`/proc/${pid}/statm`, 'utf8')
      return (Number(statm.split(' ')[1]) * PAGE_BYTES) / 1024 / 1024
    }
    const { stdout } = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)])
    return Number(stdout.trim()) / KIB_PER_MIB
  } catch {
    return 0
  }
}
