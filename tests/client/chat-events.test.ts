import { describe, expect, it } from 'vitest'
import { parseChatEvent } from '../../client/chat-events.ts'
import { BulkheadError, errorFromResponse } from '../../client/errors.ts'

describe('parseChatEvent', () => {
  it('passes known kinds through and wraps unknown ones', () => {
    expect(parseChatEvent('{"event":"content_delta","delta":"é","seq":2}')).toEqual({
      event: 'content_delta',
      delta: 'é',
      seq: 2,
    })
    const data = { event: 'tool_call', tool_name: 'x' }
    expect(parseChatEvent(JSON.stringify(data))).toEqual({ event: 'other', name: 'tool_call', data })
    const placed = { ...data, seq: 3, ts: '2026-01-01T00:00:00Z' }
    const { seq, ts } = placed
    expect(parseChatEvent(JSON.stringify(placed))).toEqual({ event: 'other', name: 'tool_call', data: placed, seq, ts })
  })

  it('refuses what is no event', () => {
    for (const data of ['', '{', 'null', '1', '[]', '{"delta":"x"}', '{"event":1}'])
      expect(parseChatEvent(data)).toBeNull()
  })
})

describe('errorFromResponse', () => {
  it('reads the envelope', async () => {
    const body = { error: 'No.', code: 'forbidden', request_id: 'r1', hint: 'Ask.' }
    const error = await errorFromResponse(Response.json(body, { status: 403 }))
    expect(error).toBeInstanceOf(BulkheadError)
    expect(error).toMatchObject({ message: 'No.', code: 'forbidden', status: 403, requestId: 'r1', details: body })
  })

  it('makes do with a body that is not JSON', async () => {
    const error = await errorFromResponse(new Response('<h1>Bad gateway</h1>', { status: 502 }))
    expect(error).toMatchObject({ code: 'http_error', status: 502, message: 'The server answered 502.' })
  })
})
