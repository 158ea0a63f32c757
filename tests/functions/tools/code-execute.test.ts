import { Validator } from '@cfworker/json-schema'
import { describe, expect, it } from 'vitest'
import { createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import { codeSandboxFromEnv, createCodeExecute } from '../../../supabase/functions/_shared/tools/code-execute.ts'
import type { Tool } from '../../../supabase/functions/_shared/tools/types.ts'
import { httpServer } from '../support/egress.ts'
import { outsideContext } from '../support/tool-context.ts'

async function scene(answer: unknown, status = 200) {
  const server = await httpServer((_, response) => response.writeHead(status).end(JSON.stringify(answer)))
  const tool = createCodeExecute(createEgress(), {
    url: `http://127.0.0.1:${server.port}/run`,
    apiKey: 'canary-key',
  }) as Tool
  const args = { language: 'python', code: 'print(1)' }
  return {
    server,
    tool,
    call: (more: Record<string, unknown> = {}) => tool.execute({ ...args, ...more }, outsideContext()),
  }
}

describe('code_execute', () => {
  it('is not there without a sandbox', () => {
    expect(createCodeExecute(createEgress(), null)).toBeNull()
    expect(codeSandboxFromEnv({ CODE_EXECUTE_API_KEY: 'k' })).toBeNull()
    expect(codeSandboxFromEnv({ CODE_EXECUTE_URL: 'https://box.example/', CODE_EXECUTE_API_KEY: 'k' })).toEqual({
      url: 'https://box.example/',
      apiKey: 'k',
    })
    expect(() => codeSandboxFromEnv({ CODE_EXECUTE_URL: 'file:///bin/sh' })).toThrow(/CODE_EXECUTE_URL/)
  })

  it('forwards language, code and timeout, and nothing about the run', async () => {
    const { call, server } = await scene({ stdout: '1\n', stderr: '', exit_code: 0 })
    expect(await call()).toEqual({ text: 'Exit code: 0\n\nOutput:\n1\n' })
    await call({ language: 'javascript', timeout: 5 })
    expect(server.seen.map(({ body }) => JSON.parse(body))).toEqual([
      { language: 'python', code: 'print(1)', timeout: 30 },
      { language: 'javascript', code: 'print(1)', timeout: 5 },
    ])
    expect(Object.keys(server.seen[0]?.headers ?? {}).toSorted()).toEqual([
      'accept',
      'accept-encoding',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'user-agent',
    ])
    expect(server.seen[0]?.headers.authorization).toBe('Bearer canary-key')
  })

  it.each([
    [{ stdout: '', exit_code: 0 }, { text: 'Exit code: 0' }],
    [{}, { text: 'The program ran and printed nothing.' }],
    [{ result: { a: 1 } }, { text: 'Result:\n{"a":1}' }],
    [
      { stderr: 'boom', exit_code: 1 },
      { text: 'Exit code: 1\n\nError output:\nboom', isError: true },
    ],
    [
      { error: 'timed out', exit_code: null },
      { text: 'Error: timed out', isError: true },
    ],
    [{ stdout: 7 }, { text: 'The sandbox gave an answer that cannot be read.', isError: true }],
  ])('makes of %j %j', async (answer, result) => {
    expect(await (await scene(answer)).call()).toEqual(result)
  })

  it('says what failed without repeating what the sandbox said', async () => {
    expect(await (await scene({ error: 'key canary-key is wrong' }, 403)).call()).toEqual({
      isError: true,
      text: 'The service answered with HTTP 403.',
    })
  })

  it('gives at most 50,000 characters', async () => {
    expect((await (await scene({ stdout: 'x'.repeat(200_000) })).call()).text.length).toBe(50_000)
  })

  it('takes three arguments and no others', async () => {
    const { tool } = await scene({})
    const valid = (args: unknown) => new Validator(tool.inputSchema, '2020-12').validate(args).valid
    expect(valid({ language: 'python', code: 'x', timeout: 30 })).toBe(true)
    for (const args of [
      { code: 'x' },
      { language: 'bash', code: 'x' },
      { language: 'python', code: '' },
      { language: 'python', code: 'x', timeout: 31 },
      { language: 'python', code: 'x', env: {} },
    ]) {
      expect(valid(args), JSON.stringify(args)).toBe(false)
    }
  })
})
