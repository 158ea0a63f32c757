import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { denoBinary } from '../../local/functions/deno-command.ts'
import { httpsServer, PUBLIC_1, PUBLIC_2, type Seen } from './support/egress.ts'
import { probe, type ProbeInput } from './support/egress-probe.ts'
import { selfSigned } from './support/self-signed.ts'

const NAME = 'runtimes.example.com'
const OTHER = 'elsewhere.example.com'
const certificate = selfSigned(NAME)
const bomb = gzipSync(Buffer.alloc(100 * 1024 * 1024))
const root = fileURLToPath(new URL('../..', import.meta.url))
const script = fileURLToPath(new URL('./support/egress-probe-main.ts', import.meta.url))
const edgeDeno = join(root, 'node_modules/deno-edge-linux-x64/deno')

/** A server with a way to misbehave per path; the probe's input; what every runtime must make of it; what the server saw. */
async function scene(): Promise<{ input: ProbeInput; expected: string[]; seen: Seen[] }> {
  const server = await httpsServer(certificate, (request, response) => {
    switch (request.url) {
      case '/':
        return response.end(`host ${request.headers.host}`)
      case '/gzip':
        return response.setHeader('content-encoding', 'gzip').end(gzipSync('unpacked'))
      case '/bomb':
        return response.setHeader('content-encoding', 'gzip').end(bomb)
      case '/broken':
        return response.setHeader('content-encoding', 'gzip').end('this is not gzip')
      case '/long':
        return response.end('x'.repeat(300_000))
      case '/chunks':
        response.write('one ')
        return setTimeout(() => response.end('two'), 20)
      case '/echo':
        response.writeHead(200)
        return request.on('data', () => {}) && response.end(request.method)
      case '/inside':
        return response.writeHead(302, { location: 'https://169.254.169.254/' }).end()
      case '/there':
        return response.writeHead(302, { location: '/' }).end()
      case '/cut':
        response.writeHead(200, { 'content-length': '10' }).write('abc')
        return setTimeout(() => response.destroy(), 20)
      case '/drip':
        response.writeHead(200).write('x')
        return void setInterval(() => response.write('x'), 20).unref()
      default:
      // Answers nothing.
    }
  })
  const at = (path: string, request?: ProbeInput['requests'][number]['request'], host = NAME) => ({
    url: `https://${host}${path}`,
    ...(request === undefined ? {} : { request }),
  })
  const cases: [ProbeInput['requests'][number], string][] = [
    [at('/'), `200 host ${NAME} (25)`],
    [at('/gzip'), '200 unpacked (8)'],
    [at('/chunks'), '200 one two (7)'],
    [at('/there'), `200 host ${NAME} (25)`],
    [at('/echo', { method: 'POST', body: 'y'.repeat(100_000) }), '200 POST (4)'],
    [at('/long', { maxBytes: 10 }), '200 xxxxxxxxxx (10, cut)'],
    [at('/long', { maxBytes: 10, overflow: 'refuse' }), 'too_large'],
    [at('/bomb', { maxBytes: 1e9 }), 'too_large'],
    [at('/broken'), 'bad_response'],
    [at('/cut'), 'connection_failed'],
    [at('/silent', { idleTimeoutMs: 200 }), 'timeout'],
    [at('/drip', { timeoutMs: 300 }), 'timeout'],
    [at('/inside'), 'blocked_address'],
    // The certificate is for another name, and for no address.
    [at('/', {}, OTHER), 'connection_failed'],
    [at('/', {}, PUBLIC_1), 'connection_failed'],
    // Resolved again: to the server, then to an address inside.
    [at('/', {}, 'rebinding.example.com'), 'connection_failed'],
    [at('/', {}, 'rebinding.example.com'), 'blocked_address'],
    ...['127.1', '0x7f.1', '2130706433', '[::ffff:a9fe:a9fe]', '１２７.0.0.1', 'localhost.', 'x.internal'].map(
      (host): [ProbeInput['requests'][number], string] => [at('/', {}, host), 'blocked_address'],
    ),
    [at('/', {}, '[fe80::1%25eth0]'), 'bad_url'],
    [at(':6379/'), 'blocked_port'],
    [{ url: 'file:///etc/passwd' }, 'blocked_scheme'],
  ]
  const input: ProbeInput = {
    names: { [NAME]: [[PUBLIC_1]], [OTHER]: [[PUBLIC_2]], 'rebinding.example.com': [[PUBLIC_1], ['10.0.0.1']] },
    ports: { [PUBLIC_1]: server.port, [PUBLIC_2]: server.port },
    ca: certificate.cert,
    requests: cases.map(([request]) => request),
  }
  return { input, expected: cases.map(([request, outcome]) => `${request.url} ${outcome}`), seen: server.seen }
}

/** Runs the probe with no more permissions than it needs. Deno 2.1 wants one for the name a certificate is checked for. */
async function underDeno(deno: string, input: ProbeInput): Promise<string[]> {
  const hosts = ['127.0.0.1', 'localhost', PUBLIC_1, ...Object.keys(input.names)]
  const flags = [
    '--node-modules-dir=manual',
    '--cached-only',
    '--no-lock',
    '--no-prompt',
    `--allow-net=${hosts.join(',')}`,
  ]
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: root,
    DENO_DIR: process.env['DENO_DIR'] ?? join(root, '.local/deno'),
    DENO_NO_UPDATE_CHECK: '1',
    NO_COLOR: '1',
  }
  const { stdout } = await promisify(execFile)(deno, ['run', ...flags, script, JSON.stringify(input)], {
    cwd: root,
    env,
    timeout: 50_000,
  })
  return JSON.parse(stdout)
}

const runtimes: [name: string, run: (input: ProbeInput) => Promise<string[]>][] = [
  ['Node', probe],
  ['Deno', (input) => underDeno(denoBinary(), input)],
  ...(existsSync(edgeDeno)
    ? [['Deno 2.1.4', (input: ProbeInput) => underDeno(edgeDeno, input)] as [string, typeof probe]]
    : []),
]

it.each(runtimes)('%s: pins addresses, checks certificates and keeps limits', async (_, run) => {
  const { input, expected, seen } = await scene()
  const outcomes = await run(input)
  expect(outcomes.map((outcome, i) => `${input.requests[i]?.url} ${outcome}`)).toEqual(expected)
  // Where the certificate did not fit, no request was sent.
  expect(new Set(seen.map(({ headers }) => headers.host))).toEqual(new Set([NAME]))
})
