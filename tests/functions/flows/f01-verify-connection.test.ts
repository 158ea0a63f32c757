import { describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ userEnv: FLOW_ENV })

describe.each(CALLERS)('F1 verify connection, %s', (_name, tenantHeaders) => {
  it('lists the agents', async () => {
    const baseUrl = `${stack.url}/functions/v1`
    const key = stack.keys.secret
    const response = await fetch(`${baseUrl}/api/agents`, {
      headers: { apikey: key, Authorization: `Bearer ${key}`, 'Content-Type': 'application/json', ...tenantHeaders },
    })
    expect(response.status).toBe(200)
    const data = await response.json()
    expect(Array.isArray(data.agents)).toBe(true)
    expect(typeof data.total).toBe('number')
    expect(data.agents.length).toBe(data.total)
  })

  it('accepts the legacy service key too, with the anonymous key as apikey', async () => {
    const response = await fetch(`${stack.url}/functions/v1/api/agents`, {
      headers: { apikey: stack.keys.anon, Authorization: `Bearer ${stack.keys.serviceRole}`, ...tenantHeaders },
    })
    expect(response.status).toBe(200)
  })

  it('refuses the anonymous key as bearer', async () => {
    for (const key of [stack.keys.anon, stack.keys.publishable]) {
      const response = await fetch(`${stack.url}/functions/v1/api/agents`, {
        headers: { apikey: key, Authorization: `Bearer ${key}`, ...tenantHeaders },
      })
      expect(response.status).toBe(401)
      expect(typeof (await response.json()).error).toBe('string')
    }
  })
})
