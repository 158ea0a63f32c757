import { describe, expect, test } from 'vitest'
import { decode, encode, encodeBroadcast, parseVsn } from '../../local/realtime/codec.ts'

const push = (lengths: number[], encoding: number, rest: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from([3, ...lengths, encoding]), Buffer.from(rest)])

describe('vsn', () => {
  test.each([
    [null, 1],
    ['1.0.0', 1],
    ['1.0.7', 1],
    ['2.0.0', 2],
    ['3.0.0', null],
    ['2', null],
    ['', null],
  ])('%s asks for serializer %s', (vsn, serializer) => {
    expect(parseVsn(vsn)).toBe(serializer)
  })
})

describe('text frames', () => {
  test('vsn 2 in: [join_ref, ref, topic, event, payload]', () => {
    expect(decode(2, Buffer.from('["1","2","realtime:a","phx_leave",{}]'), false)).toEqual({
      joinRef: '1',
      ref: '2',
      topic: 'realtime:a',
      event: 'phx_leave',
      payload: {},
    })
  })

  test('vsn 1 in carries join_ref, vsn 1 out does not', () => {
    const frame = '{"topic":"realtime:a","event":"x","payload":{},"ref":"2","join_ref":"1"}'
    expect(decode(1, Buffer.from(frame), false)).toMatchObject({ joinRef: '1', ref: '2' })
    const out = encode(1, {
      joinRef: '1',
      ref: '2',
      topic: 'realtime:a',
      event: 'phx_reply',
      payload: { status: 'ok' },
    })
    expect(JSON.parse(out)).toEqual({ topic: 'realtime:a', event: 'phx_reply', payload: { status: 'ok' }, ref: '2' })
  })

  test.each(['', '{', 'null', '[]', '["1","2","t","e"]', '["1","2",3,"e",{}]', '[{},"2","t","e",{}]', '{"topic":"t"}'])(
    'malformed %s is null in both serializers',
    (text) => {
      expect(decode(2, Buffer.from(text), false)).toBeNull()
      expect(decode(1, Buffer.from(text), false)).toBeNull()
    },
  )
})

describe('binary frames', () => {
  test('kind 3 as supabase-js writes it', () => {
    const frame = push([2, 2, 13, 2, 0], 1, '1415realtime:roomhi{"a":1}')
    expect(decode(2, frame, true)).toEqual({
      joinRef: '14',
      ref: '15',
      topic: 'realtime:room',
      event: 'broadcast',
      payload: null,
      push: { event: 'hi', body: { kind: 'json', text: '{"a":1}' }, persist: false, framing: 'binary' },
    })
  })

  test('lengths count bytes, not characters', () => {
    const topic = Buffer.from('realtime:zażółć')
    const event = Buffer.from('🌊')
    const frame = push([0, 0, topic.length, event.length, 0], 1, Buffer.concat([topic, event, Buffer.from('{}')]))
    expect(decode(2, frame, true)).toMatchObject({ joinRef: null, topic: 'realtime:zażółć', push: { event: '🌊' } })
  })

  test('raw bytes stay bytes; persist is read from the metadata', () => {
    const frame = push(
      [0, 0, 1, 1, 16],
      0,
      Buffer.concat([Buffer.from('te{"persist":true}'), Buffer.from([1, 2, 255])]),
    )
    expect(decode(2, frame, true)?.push).toEqual({
      event: 'e',
      body: { kind: 'binary', bytes: Buffer.from([1, 2, 255]) },
      persist: true,
      framing: 'binary',
    })
  })

  test.each([
    ['another kind', Buffer.from([4, 0, 0, 0, 0, 0, 1])],
    ['a header cut short', Buffer.from([3, 0, 0])],
    ['lengths beyond the frame', push([9, 9, 9, 9, 0], 1, 'short')],
    ['a body that is not JSON', push([0, 0, 1, 1, 0], 1, 'te{')],
    ['an unknown encoding', push([0, 0, 1, 1, 0], 7, 'te{}')],
    ['a topic that is not UTF-8', push([0, 0, 1, 1, 0], 1, Buffer.from([0xff, 0x65, 0x7b, 0x7d]))],
    ['metadata that is not an object', push([0, 0, 1, 1, 1], 1, 'te1{}')],
  ])('%s is null', (_name, frame) => {
    expect(decode(2, frame, true)).toBeNull()
  })

  test('vsn 1 has no binary frames', () => {
    expect(decode(1, push([0, 0, 1, 1, 0], 1, 'te{}'), true)).toBeNull()
  })

  test('kind 4 out, byte for byte', () => {
    const json = { event: 'hi', body: { kind: 'json', text: '{"a":1}' }, framing: 'binary' } as const
    expect(encodeBroadcast(2, 'realtime:room', json)).toEqual(
      Buffer.concat([Buffer.from([4, 13, 2, 0, 1]), Buffer.from('realtime:roomhi{"a":1}')]),
    )
    const raw = { event: 'bin', body: { kind: 'binary', bytes: Buffer.from([1, 2, 255]) }, framing: 'binary' } as const
    expect(encodeBroadcast(2, 'realtime:room', raw)).toEqual(
      Buffer.concat([Buffer.from([4, 13, 3, 0, 0]), Buffer.from('realtime:roombin'), Buffer.from([1, 2, 255])]),
    )
    expect(encodeBroadcast(1, 'realtime:room', raw)).toBeNull()
  })

  test('an event too long for its length byte falls back to text', () => {
    const long = { event: 'e'.repeat(256), body: { kind: 'json', text: '{}' }, framing: 'binary' } as const
    expect(JSON.parse(String(encodeBroadcast(2, 'realtime:room', long)))).toEqual([
      null,
      null,
      'realtime:room',
      'broadcast',
      { type: 'broadcast', event: long.event, payload: {} },
    ])
  })

  test('numbers beyond double precision survive', () => {
    const text = '{"n":12345678901234567890}'
    const stored = { event: 'e', body: { kind: 'json', text }, framing: 'binary', meta: { id: 'x' } } as const
    expect(String(encodeBroadcast(1, 'realtime:r', stored))).toContain(text)
    expect(String(encodeBroadcast(2, 'realtime:r', stored))).toContain(text)
  })
})
