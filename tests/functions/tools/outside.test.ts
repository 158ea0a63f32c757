import { describe, expect, it } from 'vitest'
import { EgressError, createEgress } from '../../../supabase/functions/_shared/egress/index.ts'
import type { Egress, EgressErrorCode, EgressStream } from '../../../supabase/functions/_shared/egress/index.ts'
import { AppError } from '../../../supabase/functions/_shared/errors.ts'
import type { McpRequestInit } from '../../../supabase/functions/_shared/mcp/transport.ts'
import { egressFetchOf, mcpFetchOf, postJsonOf } from '../../../supabase/functions/_shared/tools/outside.ts'
import { eventually } from '../../support/eventually.ts'
import { PUBLIC_1, httpServer, networkOf, resolverOf, tcpServer } from '../support/egress.ts'

const never = new AbortController().signal
const CANARY = 'sk-canary-of-the-request'
const asked = (more: Partial<McpRequestInit> = {}): McpRequestInit => ({
  method: 'POST',
  headers: { authorization: `Bearer ${CANARY}`, 'content-type': 'application/json' },
  body: '{"jsonrpc":"2.0"}',
  redirect: 'manual',
  signal: never,
  ...more,
})
const REQUEST = {
  method: 'POST' as const,
  headers: { authorization: `Bearer ${CANARY}` },
  body: '{}',
  signal: never,
  timeoutMs: 5_000,
  idleTimeoutMs: 5_000,
  maxBytes: 1_000,
}

const egressTo = (...ports: number[]) => createEgress({ allowHosts: ports.map((port) => `127.0.0.1:${port}`) })

/** The three forms, each as a function of the URL alone. */
const forms = (egress: Egress) => ({
  'custom tools': (url: string) => egressFetchOf(egress)(url, REQUEST),
  'MCP servers': (url: string) => mcpFetchOf(egress)(url, asked()),
  hooks: (url: string) => postJsonOf(egress)(url, { event: 'OnRunStart' }, never),
})

/** An egress that fails like this, with what must not be shown in the cause. */
const failing = (code: EgressErrorCode): Egress => {
  const fail = () =>
    Promise.reject(new EgressError(code, 'A text to show.', new Error(`ECONNREFUSED 10.0.0.7 ${CANARY}`)))
  return { fetch: fail, stream: fail, check: fail, trusting: () => failing(code) }
}

describe('what the guard refuses', () => {
  const REFUSED = [
    ['http://169.254.169.254/latest/meta-data', 'This host may not be contacted.'],
    ['https://internal.example/', 'This host may not be contacted.'],
    ['https://localhost/', 'This host may not be contacted.'],
    ['https://public.example:5432/', 'This port may not be contacted; use the usual one of https.'],
    ['http://public.example/', 'Only https URLs can be fetched.'],
    ['file:///etc/passwd', 'Only https URLs can be fetched.'],
    ['https://absent.example/', 'The host name could not be resolved.'],
  ] as const

  it.each(REFUSED)('%s is an AppError with a text that gives nothing away', async (url, message) => {
    const network = networkOf({})
    const resolver = resolverOf({ 'internal.example': [['10.0.0.7']], 'public.example': [[PUBLIC_1]] })
    const made = forms(createEgress({ resolver, connector: network }))
    for (const form of ['custom tools', 'MCP servers'] as const) {
      const error = await made[form](url).then(
        () => expect.fail(`${form} got an answer`),
        (reason: unknown) => reason,
      )
      expect(error, form).toBeInstanceOf(AppError)
      expect(error, form).toMatchObject({ code: 'upstream_failed', status: 502, message })
    }
    // A hook that cannot be asked has failed, whatever it is thrown: the engine lets the run go on.
    await expect(made.hooks(url)).rejects.toThrow(message)
    expect(network.connected).toEqual([])
  })

  it('is not refused where the operator vouches for it', async () => {
    const { port, seen } = await httpServer((_request, response) => void response.end('{"ok":true}'))
    const made = forms(egressTo(port))
    const url = `http://127.0.0.1:${port}/`
    expect(await made['custom tools'](url)).toMatchObject({ status: 200, text: '{"ok":true}' })
    expect(await (await made['MCP servers'](url)).json()).toEqual({ ok: true })
    expect(await made.hooks(url)).toEqual({ status: 200, json: { ok: true } })
    expect(seen).toHaveLength(3)
  })

  it('has the cause for the log, and only there', async () => {
    for (const code of ['connection_failed', 'too_large', 'bad_response'] as const) {
      for (const form of ['custom tools', 'MCP servers'] as const) {
        const error = await forms(failing(code))
          [form]('https://a.example/')
          .catch((reason: unknown) => reason)
        expect(error).toMatchObject({ name: 'AppError', code: 'upstream_failed', message: 'A text to show.' })
        expect((error as AppError).hint).toBeNull()
        expect((error as AppError).extra).toEqual({})
        expect(String((error as AppError).cause)).not.toContain(CANARY)
      }
    }
  })

  it('is a matter of time when it is one', async () => {
    for (const form of ['custom tools', 'MCP servers'] as const) {
      await expect(forms(failing('timeout'))[form]('https://a.example/')).rejects.toMatchObject({
        code: 'upstream_timeout',
        status: 504,
      })
    }
  })

  it('leaves other errors alone, above all the reason of an abort', async () => {
    const reason = new AppError('upstream_timeout', 'The run took too long.')
    const { port } = await httpServer(() => {})
    const url = `http://127.0.0.1:${port}/`
    const signal = AbortSignal.abort(reason)
    await expect(egressFetchOf(egressTo(port))(url, { ...REQUEST, signal })).rejects.toBe(reason)
    await expect(mcpFetchOf(egressTo(port))(url, asked({ signal }))).rejects.toBe(reason)
    await expect(postJsonOf(egressTo(port))(url, {}, signal)).rejects.toBe(reason)
  })
})

it('a redirect is an answer: nobody else gets the credentials', async () => {
  const elsewhere = await httpServer((_request, response) => void response.end('stolen'))
  const { port, seen } = await httpServer((_request, response) => {
    response.writeHead(307, { location: `http://127.0.0.1:${elsewhere.port}/` })
    response.end()
  })
  const made = forms(egressTo(port, elsewhere.port))
  const url = `http://127.0.0.1:${port}/`
  expect((await made['custom tools'](url)).status).toBe(307)
  expect((await made['MCP servers'](url)).status).toBe(307)
  expect(await made.hooks(url)).toEqual({ status: 307, json: null })
  expect(seen[0]?.headers['authorization']).toBe(`Bearer ${CANARY}`)
  expect(elsewhere.seen).toEqual([])
})

it.each([
  ['text/plain; charset=iso-8859-1', 'latin1', 'Größe'],
  ['application/json;charset="utf-16le"', 'utf16le', '{"at":"Größe"}'],
  ['application/json', 'utf8', '{"at":"Größe"}'],
  ['text/plain; charset=nonsense', 'utf8', 'Größe'],
] as const)('custom tools get a text that is %s as it was meant', async (type, encoding, text) => {
  const { port } = await httpServer((_request, response) => {
    response.writeHead(200, { 'content-type': type }).end(Buffer.from(text, encoding))
  })
  expect(await egressFetchOf(egressTo(port))(`http://127.0.0.1:${port}/`, REQUEST)).toMatchObject({ text })
})

describe('for MCP servers', () => {
  it('sends method, headers and body, and gives the answer as it comes', async () => {
    let goOn: () => void = () => {}
    const isRead = new Promise<void>((resolve) => (goOn = resolve))
    const { port, seen } = await httpServer(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'mcp-session-id': 's1' })
      response.write('data: 1\n\n')
      // The second piece is not written before the first has been read.
      await isRead
      response.end('data: 2\n\n')
    })
    const answer = await mcpFetchOf(egressTo(port))(`http://127.0.0.1:${port}/mcp`, asked())
    expect([answer.status, answer.headers.get('mcp-session-id')]).toEqual([200, 's1'])
    const reader = answer.body!.getReader()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: 1\n\n')
    goOn()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('data: 2\n\n')
    expect((await reader.read()).done).toBe(true)
    expect(seen).toMatchObject([
      { method: 'POST', url: '/mcp', body: '{"jsonrpc":"2.0"}', headers: { authorization: `Bearer ${CANARY}` } },
    ])
    const { port: second, seen: deleted } = await httpServer((_request, response) => void response.end())
    const { body: _body, ...withoutBody } = asked({ method: 'DELETE' })
    await mcpFetchOf(egressTo(second))(`http://127.0.0.1:${second}/mcp`, withoutBody)
    expect(deleted).toMatchObject([{ method: 'DELETE', body: '' }])
  })

  it.each<[string, (answer: Response) => Promise<unknown>]>([
    ['cancels the body', (answer) => answer.body!.cancel()],
    [
      'stops reading in the middle',
      async (answer) => {
        const reader = answer.body!.getReader()
        await reader.read()
        await reader.cancel()
      },
    ],
    [
      'leaves while a read is waiting',
      async (answer) => {
        const reader = answer.body!.getReader()
        await reader.read()
        const waiting = reader.read()
        await reader.cancel()
        expect((await waiting).done).toBe(true)
      },
    ],
  ])('closes the connection when the reader %s', async (_case, leave) => {
    let closed = false
    const port = await tcpServer((socket) => {
      socket.on('close', () => (closed = true))
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n')
    })
    const answer = await mcpFetchOf(egressTo(port))(`http://127.0.0.1:${port}/`, asked())
    expect(closed).toBe(false)
    await leave(answer)
    await eventually(() => expect(closed).toBe(true))
  })

  it('closes the connection when the run is over', async () => {
    let closed = false
    const port = await tcpServer((socket) => {
      socket.on('close', () => (closed = true))
      socket.write('HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n')
    })
    const stop = new AbortController()
    const answer = await mcpFetchOf(egressTo(port))(`http://127.0.0.1:${port}/`, asked({ signal: stop.signal }))
    const reader = answer.body!.getReader()
    await reader.read()
    stop.abort(new Error('cancelled'))
    await expect(reader.read()).rejects.toThrow('cancelled')
    await eventually(() => expect(closed).toBe(true))
  })

  it('ends a body without end, and says that it is too large', async () => {
    const port = await tcpServer((socket) => {
      const more = () => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536, 'x')));
      }
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.on('drain', more)
      more()
    })
    const answer = await mcpFetchOf(egressTo(port))(`http://127.0.0.1:${port}/`, asked())
    await expect(answer.text()).rejects.toMatchObject({ code: 'too_large' })
  })

  it.each([204, 205, 304])('gives HTTP %i, which has no body, as such and closes', async (status) => {
    let closed = false
    const port = await tcpServer((socket) => {
      socket.on('close', () => (closed = true))
      socket.write(`HTTP/1.1 ${status} Fine\r\n\r\n`)
    })
    const answer = await mcpFetchOf(egressTo(port))(`http://127.0.0.1:${port}/`, asked())
    expect([answer.status, answer.body]).toEqual([status, null])
    await eventually(() => expect(closed).toBe(true))
  })

  it.each([101, 600, 999])('does not take HTTP %i for an answer, and closes', async (status) => {
    let closed = 0
    const answer: EgressStream = {
      status,
      headers: new Headers(),
      url: 'https://a.example/',
      body: (async function* () {})(),
      close: () => void closed++,
    }
    const egress: Egress = { ...failing('timeout'), stream: () => Promise.resolve(answer) }
    await expect(mcpFetchOf(egress)('https://a.example/', asked())).rejects.toMatchObject({ code: 'upstream_failed' })
    expect(closed).toBe(1)
  })
})

describe('for hooks', () => {
  it.each([
    ['{"action":"deny"}', { action: 'deny' }],
    ['[1]', [1]],
    ['"text"', 'text'],
    ['null', null],
    ['', null],
    ['<html>', null],
    ['{"cut":', null],
    [`{"long":"${'x'.repeat(300_000)}"}`, null],
  ])('answers with JSON or null: %.20s', async (body, json) => {
    const { port, seen } = await httpServer((_request, response) => void response.writeHead(200).end(body))
    const payload = { event: 'PreToolUse', data: { text: 'Grüße 👋' } }
    const answer = await postJsonOf(egressTo(port))(`http://127.0.0.1:${port}/hook`, payload, never)
    expect(answer).toEqual({ status: 200, json })
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/hook', headers: { 'content-type': 'application/json' } })
    expect(JSON.parse(seen[0]!.body)).toEqual(payload)
  })

  it('gives the status of an error along with what it says', async () => {
    const { port } = await httpServer((_request, response) => void response.writeHead(500).end('{"error":"x"}'))
    const answer = await postJsonOf(egressTo(port))(`http://127.0.0.1:${port}/`, {}, never)
    expect(answer).toEqual({ status: 500, json: { error: 'x' } })
  })
})
