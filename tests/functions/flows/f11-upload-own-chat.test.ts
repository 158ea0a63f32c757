import { describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, eventsOf, only } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ worker: true, userEnv: FLOW_ENV })
const USER_ID = 'a0000000-0000-4000-8000-000000000003'

describe.each(CALLERS)('F11 upload, own, chat, %s', (name, tenantHeaders) => {
  it('uploads for a user, records the owner over PostgREST, indexes, and chats', async () => {
    const BASE_URL = stack.url
    const SERVICE_ROLE_KEY = stack.keys.serviceRole
    const serviceHeaders = { apikey: stack.keys.anon, Authorization: `Bearer ${SERVICE_ROLE_KEY}`, ...tenantHeaders }
    const poll = async (path: string, read: (body: any) => string | undefined, wanted: string) => {
      for (let tries = 0; tries < 150; tries++) {
        const body = await (await fetch(`${BASE_URL}/functions/v1${path}`, { headers: serviceHeaders })).json()
        if (read(body) === wanted) return
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      throw new Error(`${path} never became ${wanted}`)
    }

    const sourceRes = await fetch(`${BASE_URL}/functions/v1/api/sources/upload`, {
      method: 'POST',
      headers: serviceHeaders,
      body: (() => {
        const fd = new FormData()
        fd.append('file', new File([`# Lashing\n\nLashing crews of the ${name} shift start at five.\n`], 'lashing.md'))
        return fd
      })(),
    })
    expect(sourceRes.status).toBe(201)
    const { id: sourceId } = await sourceRes.json()

    // Record ownership (so RLS can scope future reads).
    const documentRes = await fetch(`${BASE_URL}/rest/v1/documents`, {
      method: 'POST',
      headers: {
        apikey: stack.keys.anon,
        Authorization: `Bearer ${SERVICE_ROLE_KEY}`,
        'Content-Type': 'application/json',
        Prefer: 'return=representation',
      },
      body: JSON.stringify({ source_id: sourceId, owner_id: USER_ID }),
    })
    expect(documentRes.status, await documentRes.clone().text()).toBe(201)
    expect((await documentRes.json())[0]).toMatchObject({ source_id: sourceId, owner_id: USER_ID, tenant_id: HARBOR })

    await poll(`/api/sources/${sourceId}`, (body) => body.extraction_status, 'extracted')
    const kbRes = await fetch(`${BASE_URL}/functions/v1/api/knowledge-bases`, {
      method: 'POST',
      headers: { ...serviceHeaders, 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'User documents' }),
    })
    const { id: kbId } = await kbRes.json()
    await fetch(`${BASE_URL}/functions/v1/api/knowledge-bases/${kbId}/sources`, {
      method: 'POST',
      headers: { ...serviceHeaders, 'Content-Type': 'application/json' },
      body: JSON.stringify({ source_id: sourceId }),
    })
    await poll(`/api/knowledge-bases/${kbId}/sources`, (body) => body.items[0]?.index_status, 'indexed')

    const { data } = await (await stack.signIn('member@harbor.example')).auth.getSession()
    const chatRes = await fetch(`${BASE_URL}/functions/v1/chat`, {
      method: 'POST',
      headers: {
        apikey: stack.keys.publishable,
        Authorization: `Bearer ${data.session?.access_token}`,
        'Content-Type': 'application/json',
      },
      body: JSON.stringify({ message: 'When do lashing crews start?', knowledge_base_ids: [kbId] }),
    })
    const complete = only(await eventsOf(chatRes), 'complete')
    expect(complete['content']).toContain('start at five')
    expect(complete['citations']).toEqual([expect.objectContaining({ citation_key: 1, source_id: sourceId })])
  })
})
