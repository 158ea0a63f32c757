import { execFile } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)

test('the demo looks where BULKHEAD_API_PORT says, and says where it has looked', { timeout: 60_000 }, async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const env = { PATH: process.env.PATH ?? '', BULKHEAD_API_PORT: String(port) }
  const failed = (await run(process.execPath, ['demo/demo.ts'], { env }).catch((error: unknown) => error)) as {
    code: number
    stderr: string
  }
  expect(failed.code).toBe(1)
  expect(failed.stderr).toContain(`There is no stack at http://127.0.0.1:${port}.`)
  expect(failed.stderr).toContain('BULKHEAD_API_PORT=')
  expect(failed.stderr).not.toContain('    at ')
})
