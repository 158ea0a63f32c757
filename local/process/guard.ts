import { spawn } from 'node:child_process'

/** Makes sure that processes started by this one do not outlive it, even when it is killed with SIGKILL. */
export interface ProcessGuard {
  /** Puts a process under guard. It must lead its own process group (spawned with `detached: true`). */
  add(pid: number): void
  /** Takes a process out again; call it when the process has ended, before its pid can be given to another. */
  remove(pid: number): void
  /** Ends the guard, and with it whatever is still under it. */
  stop(): void
}

// Reads "add PID" and "remove PID" and, when its input ends because the parent is gone, kills what is left.
// A shell costs about 1 MB where a second Node would cost 40.
const SCRIPT = `
trap '' INT TERM HUP
pids=''
while read -r action pid; do
  case "$action" in
    add) pids="$pids $pid" ;;
    remove) kept=''; for p in $pids; do [ "$p" = "$pid" ] || kept="$kept $p"; done; pids=$kept ;;
  esac
done
for p in $pids; do kill -9 "-$p" 2>/dev/null; done
`

/** Starts the guard: one small shell in a session of its own, so that a Ctrl-C in the terminal does not reach it. */
export function startGuard(): ProcessGuard {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  shell.on('error', () => {}) // without a shell there is no guard, and everything else still works
  shell.stdin.on('error', () => {})
  shell.unref()
  const write = (line: string) => void shell.stdin.write(`${line}\n`)
  return {
    add: (pid) => write(`add ${pid}`),
    remove: (pid) => write(`remove ${pid}`),
    stop: () => void shell.stdin.end(),
  }
}
