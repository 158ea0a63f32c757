import { MAX_DEFINITIONS_BYTES, MAX_TOOLS, quoted, readDefinition } from './definitions.ts'
import type { LiveTool } from './definitions.ts'
import { McpError } from './errors.ts'
import { unlessAborted } from './json-rpc.ts'
import { ask, endSession, notify } from './transport.ts'
import type { HeadersFor, McpEndpoint, McpFetch, McpQuestion, McpSession } from './transport.ts'

/*
 * A client of our own and not the SDK's. The SDK's reads answers of any size into memory, opens a second stream and
 * reconnects by itself, and compiles the output schemas that a server sends; a server is somebody else's, and what it may
 * cost us has to be bounded. It would also bring a schema compiler and OAuth into each function that runs agents.
 */

/** Versions of the protocol that are understood, newest first; the first one is proposed. */
export const PROTOCOL_VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const

/** Milliseconds for handshake and list together, for one call, and for the farewell. */
export type McpTimeouts = { discoveryMs: number; callMs: number; closeMs: number }
export const MCP_TIMEOUTS: McpTimeouts = { discoveryMs: 10_000, callMs: 30_000, closeMs: 2_000 }

const MAX_HANDSHAKE_BYTES = 64 * 1024
const MAX_LIST_BYTES = 1024 * 1024
/** Images count too, though only their size is told. */
const MAX_RESULT_BYTES = 4 * 1024 * 1024
/** More pages than tools would be pages without any. */
const MAX_PAGES = 20
const METHOD_NOT_FOUND = -32601

/** Tools of a server, and in sentences what was left out. */
export type ListedTools = { tools: LiveTool[]; warnings: string[] }

/** One call of a tool. */
export type McpCall = {
  name: string
  args: Record<string, unknown>
  /** Makes headers for this call alone; asked again when it has to be sent again. */
  headersFor?: HeadersFor | undefined
  signal: AbortSignal
}

/** A connection to one server. It is opened by the first request and opened again when the server forgets the session. */
export interface McpClient {
  /** @throws McpError; AppError when the egress guard refuses; the reason of `signal`. */
  listTools(signal: AbortSignal): Promise<ListedTools>
  /** The `CallToolResult` as the server sent it. @throws as `listTools`. */
  callTool(call: McpCall): Promise<unknown>
  /** Ends the session on the server. Never throws. */
  close(): Promise<void>
}

/** Runs with a signal that fires with `signal` or after `ms`. @throws McpError `timed_out`, else what `run` does. */
async function within<T>(ms: number, signal: AbortSignal | null, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const timer = new AbortController()
  const timeout = setTimeout(() => timer.abort(new McpError('timed_out', `did not answer within ${ms / 1000} s`)), ms)
  try {
    return await run(signal ? AbortSignal.any([signal, timer.signal]) : timer.signal)
  } finally {
    clearTimeout(timeout)
  }
}

const member = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined

/** Connects to a server over Streamable HTTP. Nothing is sent before the first request. */
export function createMcpClient(
  endpoint: McpEndpoint,
  fetchWith: McpFetch,
  timeouts: McpTimeouts = MCP_TIMEOUTS,
): McpClient {
  let lastId = 0
  let opened: Promise<McpSession> | null = null

  const question = (session: McpSession, asked: Omit<McpQuestion, 'id'>, signal: AbortSignal, id = ++lastId) =>
    ask(endpoint, session, { id, ...asked }, fetchWith, signal)

  async function open(signal: AbortSignal): Promise<McpSession> {
    const none: McpSession = { id: null, protocolVersion: null }
    const params = {
      protocolVersion: PROTOCOL_VERSIONS[0],
      capabilities: {},
      clientInfo: { name: 'bulkhead', version: '1.0.0' },
    }
    let answer: Awaited<ReturnType<typeof ask>>
    try {
      answer = await question(none, { method: 'initialize', params, maxBytes: MAX_HANDSHAKE_BYTES }, signal)
    } catch (error) {
      // Servers that were written for clients without a handshake know no such method, and need none.
      if (error instanceof McpError && error.code === METHOD_NOT_FOUND) return none
      throw error
    }
    const version = member(answer.result, 'protocolVersion')
    if (!PROTOCOL_VERSIONS.some((known) => known === version)) {
      throw new McpError('malformed', 'speaks a version of the protocol that is not known here')
    }
    const session: McpSession = { id: answer.sessionId, protocolVersion: String(version) }
    await notify(endpoint, session, { method: 'notifications/initialized' }, fetchWith, signal)
    return session
  }

  /** The session, opened by whoever comes first. One that could not be opened is tried anew by the next. */
  function session(signal: AbortSignal): Promise<McpSession> {
    if (opened !== null) return opened
    const opening = open(signal)
    opened = opening
    opening.catch(() => {
      if (opened === opening) opened = null
    })
    return opening
  }

  async function inSession<T>(signal: AbortSignal, run: (session: McpSession) => Promise<T>): Promise<T> {
    const used = session(signal)
    try {
      return await run(await unlessAborted(used, signal))
    } catch (error) {
      if (!(error instanceof McpError) || error.failure !== 'session_lost') throw error
      // The server has not looked at the request, so that sending it again repeats nothing.
      if (opened === used) opened = null
      return run(await unlessAborted(session(signal), signal))
    }
  }

  async function readPages(current: McpSession, signal: AbortSignal): Promise<ListedTools> {
    const listed: ListedTools = { tools: [], warnings: [] }
    let bytes = 0
    let cursor: unknown
    for (let page = 0; page < MAX_PAGES; page++) {
      const params = cursor === undefined ? {} : { params: { cursor } }
      const asked = { method: 'tools/list', ...params, maxBytes: MAX_LIST_BYTES }
      const { result } = await question(current, asked, signal)
      const tools = member(result, 'tools')
      if (!Array.isArray(tools)) throw new McpError('malformed', 'sent no list of tools')
      for (const value of tools) {
        const read = readDefinition(value)
        if ('problem' in read) {
          if (listed.warnings.length < MAX_TOOLS) listed.warnings.push(read.problem)
          continue
        }
        bytes += read.bytes
        if (listed.tools.length >= MAX_TOOLS || bytes > MAX_DEFINITIONS_BYTES) {
          const limit = `${MAX_TOOLS} tools and ${MAX_DEFINITIONS_BYTES} bytes`
          listed.warnings.push(`The list is longer than ${limit}: from ${quoted(read.tool.name)} on it was left out.`)
          return listed
        }
        listed.tools.push(read.tool)
      }
      const next = member(result, 'nextCursor')
      if (typeof next !== 'string' || next === '' || next === cursor) return listed
      cursor = next
    }
    listed.warnings.push(`The list has more than ${MAX_PAGES} pages: the rest was left out.`)
    return listed
  }

  return {
    listTools: (signal) =>
      within(timeouts.discoveryMs, signal, (bounded) => inSession(bounded, (current) => readPages(current, bounded))),
    callTool: ({ name, args, headersFor, signal }) =>
      within(timeouts.callMs, signal, (bounded) =>
        inSession(bounded, async (current) => {
          const id = ++lastId
          const asked: Omit<McpQuestion, 'id'> = {
            method: 'tools/call',
            params: { name, arguments: args },
            headersFor,
            maxBytes: MAX_RESULT_BYTES,
          }
          try {
            return (await question(current, asked, bounded, id)).result
          } catch (error) {
            if (bounded.aborted) cancel(current, id)
            throw error
          }
        }),
      ),
    async close() {
      const ending = opened
      opened = null
      const current = await ending?.catch(() => null)
      if (!current) return
      await within(timeouts.closeMs, null, (bounded) => endSession(endpoint, current, fetchWith, bounded)).catch(
        () => {},
      )
    },
  }

  /** Tells the server that nobody waits any more; without a handshake it would not know the word. */
  function cancel(current: McpSession, id: number): void {
    if (current.protocolVersion === null) return
    const message = { method: 'notifications/cancelled', params: { requestId: id } }
    void within(timeouts.closeMs, null, (bounded) => notify(endpoint, current, message, fetchWith, bounded)).catch(
      () => {},
    )
  }
}
