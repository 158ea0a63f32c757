import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { eventsOf, only } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ userEnv: FLOW_ENV })

describe.each(CALLERS)('F9 trusted proxy, %s', (name, tenantHeaders) => {
  const sessionId = `user-42:${name.replaceAll(' ', '_')}`
  /** The cookbook's backend: it has checked its user, and forwards the stream unchanged. */
  const proxy = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const { message } = JSON.parse(text)
    const H = {
      apikey: stack.keys.secret,
      Authorization: `Bearer ${stack.keys.secret}`,
      'Content-Type': 'application/json',
      ...tenantHeaders,
    }
    const { agents } = await (await fetch(`${stack.url}/functions/v1/api/agents`, { headers: H })).json()
    const agentRes = await fetch(`${stack.url}/functions/v1/api/agents/${agents[0].id}/run/stream`, {
      method: 'POST',
      headers: H,
      body: JSON.stringify({ message, session_id: sessionId }),
    })
    response.writeHead(agentRes.status, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
    for await (const chunk of agentRes.body!) response.write(chunk)
    response.end()
  })
  beforeAll(() => new Promise<void>((resolve) => void proxy.listen(0, '127.0.0.1', resolve)))
  afterAll(() => new Promise((resolve) => void proxy.close(resolve)))

  const chat = (message: string) =>
    fetch(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}/api/chat`, {
      method: 'POST',
      body: JSON.stringify({ message }),
    })

  it('works with a session id of the application, which is created once and then continued', async () => {
    const first = await eventsOf(await chat('Hello?'))
    expect(only(first, 'start')['session_id']).toBe(sessionId)
    expect(only(first, 'complete')).toMatchObject({ session_id: sessionId, is_new_session: true, status: 'completed' })
    const second = await eventsOf(await chat('And again?'))
    expect(only(second, 'complete')).toMatchObject({
      session_id: sessionId,
      is_new_session: false,
      status: 'completed',
    })
    expect(only(second, 'start')['run_id']).not.toBe(only(first, 'start')['run_id'])
  })
})
