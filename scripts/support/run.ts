import { spawn } from 'node:child_process'
import process from 'node:process'

/** `output` holds both streams, in order of arrival. */
export type RunResult = { code: number; output: string; stdout: string }

/** Runs a program to its end and collects what it prints. Never rejects. */
export function run(command: string, args: string[], env: NodeJS.ProcessEnv = process.env): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const all: Buffer[] = []
    const stdout: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => {
      all.push(chunk)
      stdout.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => all.push(chunk))
    child.once('error', (error) => resolve({ code: 1, output: `cannot run ${command}: ${error.message}`, stdout: '' }))
    child.once('close', (code) => {
      resolve({ code: code ?? 1, output: Buffer.concat(all).toString(), stdout: Buffer.concat(stdout).toString() })
    })
  })
}
