import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { EgressError, createEgress } from '../../supabase/functions/_shared/egress/index.ts'
import { AppError } from '../../supabase/functions/_shared/errors.ts'
import { MCP_TIMEOUTS, createMcpClient } from '../../supabase/functions/_shared/mcp/client.ts'
import type { McpClient } from '../../supabase/functions/_shared/mcp/client.ts'
import { discoverTools } from '../../supabase/functions/_shared/mcp/discovery.ts'
import type { McpFetch } from '../../supabase/functions/_shared/mcp/transport.ts'
import { mcpFetchOf } from '../../supabase/functions/_shared/tools/outside.ts'
import { eventually } from '../support/eventually.ts'
import { direct, raw, result, rpcError, silence, startMcpStub, streamed, text } from './support/mcp-server.ts'
import type { McpStub } from './support/mcp-server.ts'

const SECRET = 'sk-canary-of-the-server'
const schema = { type: 'object', properties: { q: { type: 'string' } } }
const tool = (name: string, more: object = {}) => ({ name, description: `Does ${name}.`, inputSchema: schema, ...more })
const never = new AbortController().signal
const SOON = { ...MCP_TIMEOUTS, discoveryMs: 1_000, callMs: 1_000 }

let stub: McpStub
let client: McpClient
const connect = (timeouts = MCP_TIMEOUTS) =>
  createMcpClient({ url: stub.url, headers: { Authorization: `Bearer ${SECRET}` } }, direct, timeouts)
const call = (name = 'find', signal = never) => client.callTool({ name, args: { q: 'a' }, signal })

beforeEach(async () => {
  stub = await startMcpStub()
  client = connect()
})
afterEach(async () => {
  await client.close()
  await stub.stop()
})

describe('a connection to an MCP server', () => {
  it('shakes hands once, keeps session and version, and ends the session', async () => {
    stub.offer([tool('find')])
    expect((await client.listTools(never)).tools.map(({ name }) => name)).toEqual(['find'])
    expect(await call()).toEqual(text('ok'))
    await client.close()
    expect(stub.methods()).toEqual(['initialize', 'notifications/initialized', 'tools/list', 'tools/call', 'DELETE'])
    const [hello, ...others] = stub.requests
    expect(hello?.headers).not.toHaveProperty('mcp-session-id')
    expect(hello?.rpc).toMatchObject({ jsonrpc: '2.0', params: { protocolVersion: '2025-11-25', capabilities: {} } })
    for (const { headers } of others) {
      expect(headers).toMatchObject({ 'mcp-session-id': 'session-1', 'mcp-protocol-version': '2025-11-25' })
    }
    for (const { headers, method } of stub.requests) {
      expect(headers['authorization']).toBe(`Bearer ${SECRET}`)
      expect(headers['accept']).toBe('application/json, text/event-stream')
      if (method === 'POST') expect(headers['content-type']).toBe('application/json')
    }
    expect(stub.requests[3]?.rpc['params']).toEqual({ name: 'find', arguments: { q: 'a' } })
    expect(stub.requests[1]?.rpc).not.toHaveProperty('id')
  })

  it('lets no configured header stand in for the protocol’s own', async () => {
    const headers = { 'Mcp-Session-Id': 'other', 'MCP-Protocol-Version': '1', Accept: 'text/html', Host: 'inside' }
    client = createMcpClient({ url: stub.url, headers }, direct)
    await client.listTools(never)
    expect(stub.requests[0]?.headers).not.toHaveProperty('mcp-session-id')
    expect(stub.requests[0]?.headers).toMatchObject({ accept: 'application/json, text/event-stream' })
    expect(stub.requests[0]?.headers.host).toMatch(/^127\.0\.0\.1:/)
    expect(stub.requests[2]?.headers).toMatchObject({ 'mcp-session-id': 'session-1' })
  })

  it('takes an older version of the protocol, and refuses an unknown one', async () => {
    stub.on('initialize', result({ protocolVersion: '2025-03-26', capabilities: {}, serverInfo: {} }))
    await client.listTools(never)
    expect(stub.requests[2]?.headers).toMatchObject({ 'mcp-protocol-version': '2025-03-26' })
    expect(stub.requests[2]?.headers).not.toHaveProperty('mcp-session-id')
    stub.on('initialize', result({ protocolVersion: '1999-01-01' }))
    await expect(connect().listTools(never)).rejects.toMatchObject({ failure: 'malformed' })
  })

  it('works with a server that knows no handshake', async () => {
    stub.on('initialize', rpcError(-32601, 'Method not found'))
    stub.offer([tool('find')])
    expect((await client.listTools(never)).tools).toHaveLength(1)
    expect(await call()).toEqual(text('ok'))
    expect(stub.methods()).toEqual(['initialize', 'tools/list', 'tools/call'])
  })

  it('opens the session again when the server has forgotten it, once', async () => {
    await call()
    let refused = 0
    stub.on('tools/call', (response, request) =>
      refused++ === 0 ? raw(404)(response, request) : result(text('again'))(response, request),
    )
    expect(await call()).toEqual(text('again'))
    expect(stub.methods().filter((method) => method === 'initialize')).toHaveLength(2)
    stub.on('tools/call', raw(404))
    await expect(call()).rejects.toMatchObject({ failure: 'session_lost' })
    expect(stub.methods().filter((method) => method === 'initialize')).toHaveLength(3)
  })

  it('opens one session for calls that come together', async () => {
    await Promise.all([call('a'), call('b'), call('c')])
    expect(stub.methods().filter((method) => method === 'initialize')).toHaveLength(1)
  })

  it('tries again to open a session that could not be opened', async () => {
    stub.on('notifications/initialized', raw(500))
    await expect(call()).rejects.toMatchObject({ failure: 'refused' })
    stub.on('notifications/initialized', raw(202))
    expect(await call()).toEqual(text('ok'))
  })

  it('reads answers from event streams, whatever comes before them', async () => {
    const before = [
      { method: 'notifications/progress', params: { progress: 1 } },
      { id: 'p1', method: 'ping' },
      { id: 77, method: 'sampling/createMessage', params: { messages: [] } },
      { id: 12345, result: text('an answer to something else') },
    ]
    stub.on('tools/call', streamed(text('grün 👋'), before))
    expect(await call()).toEqual(text('grün 👋'))
    await eventually(() => {
      const answers = stub.requests.filter(({ rpc }) => rpc['method'] === undefined).map(({ rpc }) => rpc)
      expect(answers).toEqual([
        { jsonrpc: '2.0', id: 'p1', result: {} },
        { jsonrpc: '2.0', id: 77, error: { code: -32601, message: 'Method not found' } },
      ])
    })
  })

  it('answers no more than ten questions of a server', async () => {
    const pings = Array.from({ length: 50 }, (_, id) => ({ id: `ping-${id}`, method: 'ping' }))
    stub.on('tools/call', streamed(text('done'), pings))
    await call()
    await eventually(() => expect(stub.methods().filter((method) => method === 'answer')).toHaveLength(10))
    await call()
    expect(stub.methods().filter((method) => method === 'answer').length).toBeLessThanOrEqual(20)
  })

  it('talks to a server of the official SDK', async () => {
    const server = new McpServer({ name: 'official', version: '1' })
    server.registerTool(
      'add',
      { description: 'Adds.', inputSchema: { a: z.number(), b: z.number() }, annotations: { readOnlyHint: true } },
      ({ a, b }) => ({ content: [{ type: 'text' as const, text: String(a + b) }] }),
    )
    const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: () => crypto.randomUUID() })
    await server.connect(transport)
    const inProcess: McpFetch = (url, init) => transport.handleRequest(new Request(url, init))
    const official = createMcpClient({ url: 'http://official.example/mcp', headers: {} }, inProcess)
    const { tools, warnings } = await official.listTools(never)
    expect(warnings).toEqual([])
    expect(tools).toMatchObject([
      { name: 'add', description: 'Adds.', read_only: true, input_schema: { required: ['a', 'b'] } },
    ])
    expect(await official.callTool({ name: 'add', args: { a: 2, b: 3 }, signal: never })).toMatchObject(text('5'))
    await official.close()
    await expect(inProcess('http://official.example/mcp', { method: 'DELETE', headers: {}, redirect: 'manual', signal: never })).resolves.toMatchObject({ status: 404 }) // prettier-ignore
  })
})

describe('a server that answers wrongly', () => {
  it.each([
    ['no JSON', raw(200, '{"jsonrpc":'), 'malformed'],
    ['no JSON-RPC', raw(200, '{"hello":1}'), 'malformed'],
    ['another answer only', raw(200, '{"jsonrpc":"2.0","id":999,"result":{}}'), 'malformed'],
    ['an error without a code', raw(200, '{"jsonrpc":"2.0","id":1,"error":"no"}'), 'malformed'],
    ['an id that is none', raw(200, '{"jsonrpc":"2.0","id":{},"result":{}}'), 'malformed'],
    ['null', raw(200, 'null'), 'malformed'],
    ['HTML', raw(200, '<html>', { 'content-type': 'text/html' }), 'malformed'],
    ['nothing', raw(202, '', {}), 'malformed'],
    ['an empty stream', raw(200, '', { 'content-type': 'text/event-stream' }), 'malformed'],
    ['half an event', raw(200, 'data: {"jsonrpc":"2.0"', { 'content-type': 'text/event-stream' }), 'malformed'],
    ['broken JSON in an event', raw(200, 'data: {"json\n\n', { 'content-type': 'text/event-stream' }), 'malformed'],
    ['a session id that is none', result({}, { 'mcp-session-id': 'a b' }), 'malformed'],
    ['a redirect', raw(307, '', { location: 'http://127.0.0.1:1/elsewhere' }), 'refused'],
    ['unauthorized', raw(401), 'refused'],
    ['a server error', raw(500, 'stack trace'), 'refused'],
    ['a JSON-RPC error', rpcError(-32602, 'no such tool'), 'rpc_error'],
  ] as const)('%s → a failure of its kind', async (_name, respond, failure) => {
    stub.on('tools/call', respond)
    await expect(call()).rejects.toMatchObject({ name: 'McpError', failure })
    stub.on('tools/call', result(text('still alive')))
    expect(await call()).toEqual(text('still alive'))
  })

  it('does not follow redirects with its credentials', async () => {
    const elsewhere = await startMcpStub()
    stub.on('initialize', raw(307, '', { location: elsewhere.url }))
    await expect(call()).rejects.toMatchObject({ failure: 'refused' })
    expect(elsewhere.requests).toEqual([])
    await elsewhere.stop()
  })

  it('is unreachable when it cuts the answer, as JSON or as a stream', async () => {
    for (const type of ['application/json', 'text/event-stream']) {
      stub.on('tools/call', (response) => {
        response.writeHead(200, { 'content-type': type })
        response.write('data: {"jsonrpc":')
        setImmediate(() => response.destroy())
      })
      await expect(call()).rejects.toMatchObject({ failure: 'unreachable' })
    }
    await client.close()
    await stub.stop()
    await expect(connect().callTool({ name: 'a', args: {}, signal: never })).rejects.toMatchObject({
      failure: 'unreachable',
    })
  })

  it('is cut off when it sends too much, as JSON, as one event or as many', async () => {
    for (const [type, piece] of [
      ['application/json', 'x'.repeat(65_536)],
      ['text/event-stream', 'x'.repeat(65_536)],
      [
        'text/event-stream',
        `data: {"jsonrpc":"2.0","method":"notifications/message","params":"${'x'.repeat(60_000)}"}\n\n`,
      ],
    ] as const) {
      let sent = 0
      stub.on('tools/call', (response) => {
        response.writeHead(200, { 'content-type': type })
        const more = () => {
          while (!response.destroyed) {
            sent += piece.length
            if (!response.write(piece)) return void response.once('drain', more)
          }
        }
        more()
      })
      await expect(call()).rejects.toMatchObject({ failure: 'too_large' })
      expect(sent).toBeLessThan(64 * 1024 * 1024)
    }
  })

  it('is given up when it is slow, and told so', async () => {
    client = connect(SOON)
    await client.listTools(never)
    stub.on('tools/call', silence)
    await expect(call()).rejects.toMatchObject({ failure: 'timed_out' })
    const asked = stub.requests.find(({ rpc }) => rpc['method'] === 'tools/call')
    await eventually(() => {
      const cancelled = stub.requests.find(({ rpc }) => rpc['method'] === 'notifications/cancelled')
      expect(cancelled?.rpc['params']).toEqual({ requestId: asked?.rpc['id'] })
    })
    stub.on('tools/call', (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(': still there\n\n')
    })
    await expect(call()).rejects.toMatchObject({ failure: 'timed_out' })
    stub.on('tools/list', silence)
    await expect(client.listTools(never)).rejects.toMatchObject({ failure: 'timed_out' })
  })

  it('does not hold back an abort, which comes out as it went in', async () => {
    stub.on('tools/call', silence)
    const abort = new AbortController()
    const reason = new Error('the run was cancelled')
    const waiting = call('find', abort.signal)
    await eventually(() => expect(stub.methods()).toContain('tools/call'))
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await expect(call('find', abort.signal)).rejects.toBe(reason)
  })

  it('N01: is not asked where the egress guard forbids it, and the guard’s reason is told', async () => {
    const fetchWith = mcpFetchOf(createEgress())
    for (const url of [stub.url, 'http://169.254.169.254/mcp', 'http://localhost:5432/mcp', 'file:///etc/passwd']) {
      const guarded = createMcpClient({ url, headers: { authorization: SECRET } }, fetchWith)
      const error = await guarded.listTools(never).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ name: 'AppError', code: 'upstream_failed', message: expect.stringMatching(/\.$/) })
    }
    expect(stub.requests).toEqual([])
    const bare: McpFetch = () => Promise.reject(new EgressError('blocked_address', 'This address is not allowed.'))
    await expect(createMcpClient({ url: stub.url, headers: {} }, bare).listTools(never)).rejects.toMatchObject({
      failure: 'unreachable',
      message: 'cannot be asked: this address is not allowed',
    })
  })

  it('works through the egress guard, which keeps its limits', async () => {
    const { host } = new URL(stub.url)
    const egress = createEgress({ allowHosts: [host] })
    const guarded = createMcpClient({ url: stub.url, headers: {} }, mcpFetchOf(egress))
    stub.offer([tool('find')])
    expect((await guarded.listTools(never)).tools).toHaveLength(1)
    stub.on('tools/call', streamed(text('by stream')))
    expect(await guarded.callTool({ name: 'find', args: {}, signal: never })).toEqual(text('by stream'))
    stub.on('tools/call', result(text('x'.repeat(5_000_000))))
    const large = guarded.callTool({ name: 'find', args: {}, signal: never })
    await expect(large).rejects.toMatchObject({ failure: 'too_large' })
    const elsewhere = await startMcpStub()
    stub.on('tools/call', raw(302, '', { location: elsewhere.url }))
    const redirected = guarded.callTool({ name: 'find', args: {}, signal: never })
    await expect(redirected).rejects.toMatchObject({ failure: 'refused' })
    expect(elsewhere.requests).toEqual([])
    await guarded.close()
    expect(stub.methods().at(-1)).toBe('DELETE')
    await elsewhere.stop()
  })
})

describe('a list of tools', () => {
  it('is read page by page', async () => {
    stub.on('tools/list', (response, request) => {
      const cursor = request.rpc['params']?.cursor ?? '0'
      const next = Number(cursor) + 1
      return result({ tools: [tool(`t${cursor}`)], ...(next < 4 ? { nextCursor: String(next) } : {}) })(
        response,
        request,
      )
    })
    const { tools, warnings } = await client.listTools(never)
    expect(tools.map(({ name }) => name)).toEqual(['t0', 't1', 't2', 't3'])
    expect(warnings).toEqual([])
  })

  it('ends when the pages do not', async () => {
    let page = 0
    stub.on('tools/list', (response, request) => result({ tools: [], nextCursor: `c${page++}` })(response, request))
    expect((await client.listTools(never)).warnings).toEqual([
      'The list has more than 20 pages: the rest was left out.',
    ])
    expect(page).toBe(20)
    stub.on('tools/list', result({ tools: [tool('same')], nextCursor: 'c' }))
    expect((await client.listTools(never)).tools).toHaveLength(2)
  })

  it('is cut after 100 tools and after 256 KB', async () => {
    stub.offer(Array.from({ length: 300 }, (_, index) => tool(`t${index}`)))
    const many = await client.listTools(never)
    expect(many.tools).toHaveLength(100)
    expect(many.warnings).toEqual([expect.stringContaining('from "t100" on it was left out')])
    const large = { type: 'object', description: 'x'.repeat(30_000) }
    stub.offer(Array.from({ length: 20 }, (_, index) => tool(`large${index}`, { inputSchema: large })))
    const heavy = await client.listTools(never)
    expect(heavy.tools).toHaveLength(8)
    expect(heavy.warnings).toEqual([expect.stringContaining('"large8"')])
  })

  it('leaves out what is no usable definition, and says what', async () => {
    const offered = [
      tool('good'),
      tool('big', { inputSchema: { type: 'object', description: 'ü'.repeat(17_000) } }),
      tool('deep', { inputSchema: { type: 'object', properties: 'DEEP' } }),
      tool('list', { inputSchema: { type: 'array' } }),
      tool('none', { inputSchema: undefined }),
      tool('wordy', { description: 'x'.repeat(8_001) }),
      tool('odd', { description: 5 }),
      tool('hints', { annotations: [] }),
      tool(''),
      { description: 'nameless' },
      'nothing',
    ]
    // Deeper than JSON.stringify gets.
    const deep = `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`
    const list = JSON.stringify(offered).replace('"DEEP"', deep)
    stub.on('tools/list', (response, request) =>
      raw(200, `{"jsonrpc":"2.0","id":${request.rpc['id']},"result":{"tools":${list}}}`)(response, request),
    )
    const { tools, warnings } = await client.listTools(never)
    expect(tools.map(({ name }) => name)).toEqual(['good'])
    expect(warnings).toHaveLength(10)
    expect(warnings[0]).toBe('The tool "big" was left out: its schema is larger than 32768 bytes.')
    expect(warnings[1]).toBe('The tool "deep" was left out: its definition nests too deeply.')
  })

  it('takes null for what is not there', async () => {
    stub.offer([tool('quiet', { description: null, annotations: null, title: null, outputSchema: null })])
    const { tools, warnings } = await client.listTools(never)
    expect(tools).toMatchObject([{ name: 'quiet', description: '', annotations: null, read_only: false }])
    expect(warnings).toEqual([])
  })

  it('leaves out what cannot be stored, and nothing that only looks so', async () => {
    stub.offer([
      tool('nul', { description: 'a\0b' }),
      tool('half', { description: '\ud83e' }),
      tool('key', { inputSchema: { type: 'object', properties: { 'a\0': {} } } }),
      tool('hint', { annotations: { title: '\\\0' } }),
      tool('good', { description: '\\u0000 \\ud83e \u0001 🦆' }),
    ])
    const { tools, warnings } = await client.listTools(never)
    expect(tools.map(({ name }) => name)).toEqual(['good'])
    expect(warnings).toEqual(
      ['nul', 'half', 'key', 'hint'].map(
        (name) => `The tool "${name}" was left out: its definition has a character that cannot be stored.`,
      ),
    )
  })
})

describe('discoverTools', () => {
  const discover = (options = {}) => discoverTools({ url: stub.url, headers: { 'x-key': SECRET } }, direct, options)

  it('gives what the server offers now, and leaves no session behind', async () => {
    stub.offer([tool('find', { annotations: { readOnlyHint: true, title: 'Find' } }), tool('send')])
    expect(await discover()).toEqual({
      tools: [
        {
          name: 'find',
          description: 'Does find.',
          input_schema: schema,
          annotations: { readOnlyHint: true, title: 'Find' },
          read_only: true,
        },
        { name: 'send', description: 'Does send.', input_schema: schema, annotations: null, read_only: false },
      ],
      warnings: [],
    })
    expect(stub.methods().at(-1)).toBe('DELETE')
  })

  it.each([
    ['a refusal', raw(401, SECRET), 'upstream_failed', /credentials/],
    ['an error of its own', rpcError(-32000, `bad key ${SECRET}`), 'upstream_failed', /error -32000/],
    ['silence', silence, 'upstream_timeout', /did not answer within 1 s/],
  ] as const)('answers %s with an error that repeats nothing of the server', async (_name, respond, code, message) => {
    stub.on('tools/list', respond)
    const error = await discover({ timeouts: SOON }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(AppError)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect((error as AppError).message).not.toContain(SECRET)
  })
})
