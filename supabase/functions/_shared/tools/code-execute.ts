import { z } from 'zod'
import type { Egress } from '../egress/index.ts'
import type { OutsideService } from '../egress/service.ts'
import { callService, failureResult, serviceFromEnv } from '../egress/service.ts'
import { cleanText, clip } from '../egress/text.ts'
import type { Env } from '../env.ts'
import type { Tool } from './types.ts'

const MAX_CHARS = 50_000
const MAX_BYTES = 1024 * 1024
const MAX_SECONDS = 30
/** Seconds the sandbox has to start and to answer, besides running the code. */
const GRACE_SECONDS = 10

const inputSchema = {
  type: 'object',
  properties: {
    language: { type: 'string', enum: ['python', 'javascript'] },
    code: { type: 'string', minLength: 1, maxLength: 100_000, description: 'Program to run. It prints what it finds.' },
    timeout: {
      type: 'integer',
      minimum: 1,
      maximum: MAX_SECONDS,
      default: MAX_SECONDS,
      description: 'Seconds it may run.',
    },
  },
  required: ['language', 'code'],
  additionalProperties: false,
}

const answerSchema = z.object({
  stdout: z.string().default(''),
  stderr: z.string().default(''),
  exit_code: z.number().int().nullable().default(null),
  /** Value of the last expression, where the sandbox has one. */
  result: z.unknown().optional(),
  /** Why the code was not run, or was stopped. */
  error: z.string().nullable().default(null),
})

function describe({ stdout, stderr, exit_code, result, error }: z.infer<typeof answerSchema>): string {
  const parts = [
    error === null ? '' : `Error: ${error}`,
    exit_code === null ? '' : `Exit code: ${exit_code}`,
    stdout === '' ? '' : `Output:\n${stdout}`,
    stderr === '' ? '' : `Error output:\n${stderr}`,
    result === undefined || result === null
      ? ''
      : `Result:\n${typeof result === 'string' ? result : JSON.stringify(result)}`,
  ].filter((part) => part !== '')
  return parts.length === 0 ? 'The program ran and printed nothing.' : parts.join('\n\n')
}

/**
 * The built-in tool `code_execute`, or null without a sandbox. It posts `{language, code, timeout}` (seconds) with the key as
 * a bearer token and expects `{stdout, stderr, exit_code, result?, error?}`. Nothing of the run goes along: no token, no ids.
 */
export function createCodeExecute(egress: Egress, sandbox: OutsideService | null): Tool | null {
  if (sandbox === null) return null
  return {
    kind: 'builtin',
    name: 'code_execute',
    description:
      'Runs a Python or JavaScript program in a sandbox without access to the data of the user and returns what it printed. Pass data in the code.',
    inputSchema,
    isConcurrencySafe: false,
    effects: ['egress', 'reads_untrusted'],
    maxResultChars: MAX_CHARS,
    async execute(args, { signal }) {
      const { language, code, timeout = MAX_SECONDS } = args as { language: string; code: string; timeout?: number }
      try {
        const limits = { signal, timeoutMs: (timeout + GRACE_SECONDS) * 1000, maxBytes: MAX_BYTES }
        const answer = answerSchema.safeParse(await callService(egress, sandbox, { language, code, timeout }, limits))
        if (!answer.success) return { text: 'The sandbox gave an answer that cannot be read.', isError: true }
        const { error, exit_code } = answer.data
        const text = clip(cleanText(describe(answer.data)), MAX_CHARS)
        return error !== null || (exit_code ?? 0) !== 0 ? { text, isError: true } : { text }
      } catch (error) {
        return failureResult(error)
      }
    },
  }
}

/** The sandbox of CODE_EXECUTE_URL and CODE_EXECUTE_API_KEY, or null. @throws Error when the first is no URL. */
export const codeSandboxFromEnv = (env: Env): OutsideService | null =>
  serviceFromEnv(env, 'CODE_EXECUTE_URL', 'CODE_EXECUTE_API_KEY')
