import { once } from 'node:events'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { startTestStack } from '../support/stack.ts'

test('a stack stops while clients listen, and tells them that it restarts', { timeout: 20_000 }, async () => {
  const stack = await startTestStack()
  const socket = new WebSocket(
    `${stack.url.replace('http', 'ws')}/realtime/v1/websocket?apikey=${stack.keys.publishable}&vsn=1.0.0`,
  )
  await once(socket, 'open')
  const closed = once(socket, 'close')
  await stack.stop()
  expect((await closed)[0]).toBe(1012)
})
