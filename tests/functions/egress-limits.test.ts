import type { Socket } from 'node:net'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createEgress, type EgressRequest } from '../../supabase/functions/_shared/egress/index.ts'
import { eventually } from '../support/eventually.ts'
import { httpServer, refusal, tcpServer } from './support/egress.ts'

const MEGABYTE = 1024 * 1024

/** Fetches from a server that does `serve` with the connection. */
async function fetchRaw(serve: (socket: Socket) => void, request: EgressRequest = {}) {
  const port = await tcpServer(serve)
  return createEgress({ allowHosts: [`127.0.0.1:${port}`] }).fetch(`http://127.0.0.1:${port}/`, request)
}

/** Fetches this text, sent as it is. */
const fetchText = (text: string | Buffer, request: EgressRequest = {}) =>
  fetchRaw((socket) => socket.end(text), request)

const encoded = (encoding: string, body: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-encoding: ${encoding}\r\n\r\n`), body])

/** Sends these bytes again and again, as fast as they are taken, and notes how many were taken. */
function flood(head: string, bytes: Buffer, sent: { bytes: number } = { bytes: 0 }) {
  return (socket: Socket) => {
    socket.write(head)
    const more = () => {
      while (!socket.destroyed && socket.writable) {
        sent.bytes += bytes.length
        if (!socket.write(bytes)) return
      }
    }
    socket.on('drain', more)
    more()
  }
}

describe('N04: bodies without end', () => {
  it.each([
    ['close-delimited', 'HTTP/1.1 200 OK\r\n\r\n', Buffer.alloc(65536, 'x')],
    [
      'chunked',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
      Buffer.from(`1000\r\n${'x'.repeat(4096)}\r\n`),
    ],
    ['of a declared petabyte', 'HTTP/1.1 200 OK\r\ncontent-length: 999999999999999\r\n\r\n', Buffer.alloc(65536, 'x')],
  ])('a body %s is cut where the limit is, and the connection closed', async (_, head, bytes) => {
    const sent = { bytes: 0 }
    let closed = false
    const answer = await fetchRaw(
      (socket) => {
        socket.on('close', () => (closed = true))
        flood(head, bytes, sent)(socket)
      },
      { maxBytes: 100_000 },
    )
    expect([answer.truncated, answer.body.byteLength, answer.text().slice(0, 3)]).toEqual([true, 100_000, 'xxx'])
    await eventually(() => expect(closed).toBe(true))
    // What was on its way when the connection closed: the buffers of the sockets, not more.
    expect(sent.bytes).toBeLessThan(64 * MEGABYTE)
  })

  it('is refused when the caller needs all of it, and a stream of it ends with too_large', async () => {
    const head = 'HTTP/1.1 200 OK\r\n\r\n'
    await refusal(fetchRaw(flood(head, Buffer.alloc(65536)), { maxBytes: 1000, overflow: 'refuse' }), 'too_large')
    const port = await tcpServer(flood(head, Buffer.alloc(65536)))
    const stream = await createEgress({ allowHosts: [`127.0.0.1:${port}`] }).stream(`http://127.0.0.1:${port}/`, {
      maxBytes: 200_000,
    })
    let size = 0
    await refusal(
      (async () => {
        for await (const piece of stream.body) size += piece.byteLength
      })(),
      'too_large',
    )
    expect(size).toBeLessThanOrEqual(200_000)
  })

  it('a body of exactly the limit is whole', async () => {
    const answer = await fetchText('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello', {
      maxBytes: 5,
      overflow: 'refuse',
    })
    expect([answer.truncated, answer.text()]).toEqual([false, 'hello'])
  })
})

describe('N04: bodies in pieces', () => {
  const inChunks = (count: number, text: string) => {
    const chunk = `${text.length.toString(16)}\r\n${text}\r\n`
    return fetchText(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(count)}0\r\n\r\n`)
  }

  it('are whole, however many there are, as long as they bring something', async () => {
    expect((await inChunks(10_000, 'x')).body.byteLength).toBe(10_000)
    expect((await inChunks(20_000, 'x'.repeat(16))).body.byteLength).toBe(320_000)
  })

  it('are refused when each costs more than it brings', async () => {
    const error = await refusal(inChunks(20_000, 'x'), 'bad_response')
    expect(error.message).toBe('The server sends its answer in too many pieces.')
  })
})

describe('N04: compression', () => {
  const text = 'The quick brown fox jumps over the lazy dog. '.repeat(2000)

  it.each([
    ['gzip', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    ['GZIP', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['identity', Buffer.from(text)],
  ])('%s is undone', async (encoding, body) => {
    const answer = await fetchText(encoded(encoding, body))
    expect([answer.text() === text, answer.truncated]).toEqual([true, false])
    expect(answer.headers.get('content-encoding')).toBeNull()
  })

  it.each([
    ['gzip', gzipSync(Buffer.alloc(100 * MEGABYTE))],
    ['deflate', deflateSync(Buffer.alloc(100 * MEGABYTE))],
  ])('a bomb of %s, 100 MB in 100 KB, is not unpacked', async (encoding, bomb) => {
    const before = process.memoryUsage().arrayBuffers
    await refusal(fetchText(encoded(encoding, bomb), { maxBytes: 1000 * MEGABYTE }), 'too_large')
    const cut = await fetchText(encoded(encoding, bomb), { maxBytes: 10_000 })
    expect([cut.truncated, cut.body.byteLength]).toEqual([true, 10_000])
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * MEGABYTE)
  })

  it('compressed input that never yields anything is not read for ever', async () => {
    // An empty stored block of deflate: five bytes, no output, as often as one likes.
    const empty = Buffer.from('000000ffff', 'hex')
    const head = 'HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\n\r\n'
    const blocks = Buffer.concat(Array.from({ length: 10_000 }, () => empty))
    await refusal(
      fetchRaw(
        (socket) => {
          socket.write(Buffer.concat([Buffer.from(head), Buffer.from('789c', 'hex')]))
          flood('', blocks)(socket)
        },
        { maxBytes: 100_000 },
      ),
      'too_large',
    )
  })

  it.each([
    ['gzip', Buffer.from('this is not gzip')],
    ['gzip', gzipSync(text).subarray(0, 60)],
    ['deflate', Buffer.from('\x78\x9cnot zlib', 'latin1')],
    ['br', brotliCompressSync(text)],
    ['gzip, gzip', gzipSync(gzipSync(text))],
    ['compress', Buffer.from(text)],
  ])('%s that is broken or was not asked for is refused', async (encoding, body) => {
    await refusal(fetchText(encoded(encoding, body)), 'bad_response')
  })

  it('nothing compressed is nothing', async () => {
    expect((await fetchText(encoded('gzip', Buffer.alloc(0)))).body.byteLength).toBe(0)
  })
})

describe('N04: time', () => {
  const drip = (first: string, every: string) => (socket: Socket) => {
    socket.write(first)
    const timer = setInterval(() => socket.write(every), 20)
    socket.on('close', () => clearInterval(timer))
  }

  it.each([
    ['says nothing', () => {}],
    ['stops in the headers', (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-')],
    ['stops in the body', (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc')],
    [
      'stops in compressed data',
      (socket: Socket) => void socket.write(encoded('gzip', gzipSync('x'.repeat(9999)).subarray(0, 20))),
    ],
  ])('a server that %s runs into the idle limit', async (_, serve) => {
    await refusal(fetchRaw(serve, { idleTimeoutMs: 100, timeoutMs: 30_000 }), 'timeout')
  })

  it.each([
    ['headers', 'HTTP/1.1 200 OK\r\n', 'x: y\r\n'],
    ['a body', 'HTTP/1.1 200 OK\r\n\r\n', 'x'],
    ['chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\nx\r\n'],
  ])('a server that drips %s runs into the limit for everything', async (_, first, every) => {
    await refusal(fetchRaw(drip(first, every), { idleTimeoutMs: 30_000, timeoutMs: 300 }), 'timeout')
  })

  it('a resolver that never answers does too, and redirects do not start the clock again', async () => {
    const stuck = createEgress({ resolver: () => new Promise(() => {}) })
    await refusal(stuck.fetch('https://slow.example.com/', { timeoutMs: 100 }), 'timeout')
    const server = await httpServer(
      (_, response) => void setTimeout(() => response.writeHead(302, { location: '/' }).end(), 100),
    )
    const egress = createEgress({ allowHosts: [`127.0.0.1:${server.port}`] })
    await refusal(egress.fetch(`http://127.0.0.1:${server.port}/`, { timeoutMs: 250 }), 'timeout')
  })

  it('the caller ends a request with a reason of its own, before it, while waiting, and in the body', async () => {
    const reason = new Error('the run was cancelled')
    const aborted = AbortSignal.abort(reason)
    await expect(fetchRaw(() => {}, { signal: aborted })).rejects.toBe(reason)
    const waiting = new AbortController()
    await expect(fetchRaw(() => waiting.abort(reason), { signal: waiting.signal })).rejects.toBe(reason)
    const reading = new AbortController()
    const serve = (socket: Socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\nabc')
      setTimeout(() => reading.abort(reason), 50)
    }
    await expect(fetchRaw(serve, { signal: reading.signal })).rejects.toBe(reason)
  })
})

describe('N04: answers that are not what they should be', () => {
  it.each([
    ['one header of 40 KB', `x: ${'y'.repeat(40_000)}\r\n`],
    ['a thousand headers', Array.from({ length: 1000 }, (_, i) => `x-${i}: y\r\n`).join('')],
    ['a status line of 40 KB', null],
  ])('%s is too large', async (_, headers) => {
    const head = headers === null ? `HTTP/1.1 200 ${'O'.repeat(40_000)}\r\n` : `HTTP/1.1 200 OK\r\n${headers}`
    await refusal(fetchText(`${head}\r\nbody`), 'too_large')
  })

  it('headers without end are too large, not too long in memory', async () => {
    await refusal(fetchRaw(flood('HTTP/1.1 200 OK\r\n', Buffer.from('x: y\r\n'.repeat(1000)))), 'too_large')
    await refusal(fetchRaw(flood('HTTP/1.1 200 OK\r\nx: ', Buffer.alloc(65536, 'x'))), 'too_large')
  })

  it.each([
    ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['HTTP/0.9', '<html>hello</html>'],
    ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\nx: y\n\n'],
    ['a bare carriage return in a header', 'HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n'],
    ['a NUL in a header', 'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n'],
    ['a folded header', 'HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n'],
    ['a header without a name', 'HTTP/1.1 200 OK\r\n: a\r\n\r\n'],
    ['white space before the colon', 'HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello'],
    ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!'],
    ['a negative length', 'HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello'],
    ['an unknown transfer coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a chunk size that is none', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n'],
    ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n'],
    ['a protocol that was not asked for', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n'],
    ['interim answers only', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(10)],
    ['nothing', ''],
  ])('%s is refused as no valid answer', async (_, text) => {
    const error = await refusal(fetchText(text), 'bad_response')
    expect(error.message).toBe('The server did not answer in valid HTTP.')
  })

  it.each([
    ['a length', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello'],
    ['a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\nhello'],
  ])('a body shorter than %s said is no whole body', async (_, text) => {
    await refusal(fetchText(text), 'connection_failed')
  })

  it('interim answers are passed over; lengths, chunks in pieces, and answers without a body are understood', async () => {
    const text = async (head: string, request?: EgressRequest) => (await fetchText(`HTTP/1.1 ${head}`, request)).text()
    expect(await text('103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokjunk')).toBe(
      'ok',
    )
    expect(await text('200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok')).toBe('ok')
    expect(await text('200\r\ntransfer-encoding: Chunked\r\n\r\n2;a=b\r\nok\r\n1\r\n!\r\n0\r\nx: y\r\n\r\n')).toBe(
      'ok!',
    )
    expect(await text('204 No Content\r\n\r\njunk')).toBe('')
    expect(await text('200 OK\r\ncontent-length: 5\r\n\r\n', { method: 'HEAD' })).toBe('')
    const drop = await fetchRaw((socket) => {
      const bytes = [...'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n']
      const next = () =>
        bytes.length > 0 ? socket.write(bytes.shift() as string, () => setImmediate(next)) : socket.end()
      next()
    })
    expect(drop.text()).toBe('abc')
  })
})
