import { describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ worker: true, userEnv: FLOW_ENV })
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe.each(CALLERS)('F2 upload, %s', (name, tenantHeaders) => {
  const text = `# Berth plan\n\nVessels of class B berth at quay nine. (${name})\n`

  it('uploads, polls until extracted, reads the page texts, and is told of a duplicate', async () => {
    const baseUrl = `${stack.url}/functions/v1`
    const headers = { apikey: stack.keys.secret, Authorization: `Bearer ${stack.keys.secret}`, ...tenantHeaders }
    const upload = () => {
      const form = new FormData()
      form.append('file', new Blob([text], { type: 'text/markdown' }), 'berths.md')
      return fetch(`${baseUrl}/api/sources/upload`, { method: 'POST', headers, body: form })
    }
    const uploaded = await upload()
    expect(uploaded.status).toBe(201)
    const source = await uploaded.json()
    expect(source.extraction_status).toBe('pending')
    expect(source).toMatchObject({
      name: 'berths.md',
      file_type: '.md',
      storage_path: expect.any(String),
      task_id: expect.any(String),
    })

    const ended = ['extracted', 'attention_required', 'failed', 'cancelled']
    let status = source
    for (let tries = 0; tries < 100 && !ended.includes(status.extraction_status); tries++) {
      await sleep(200)
      status = await (await fetch(`${baseUrl}/api/sources/${source.id}`, { headers })).json()
    }
    expect(status.extraction_status, status.error_message).toBe('extracted')

    const pages = await (await fetch(`${baseUrl}/api/sources/${source.id}/page-texts`, { headers })).json()
    expect(pages.count).toBe(1)
    expect(pages.page_texts.every((page: unknown) => typeof page === 'string')).toBe(true)
    expect(pages.page_texts[0]).toContain('quay nine')
    const page = await (await fetch(`${baseUrl}/api/sources/${source.id}/page-texts?page=1`, { headers })).json()
    expect(page.text).toBe(pages.page_texts[0])

    const again = await upload()
    expect(again.status).toBe(409)
    const refusal = await again.json()
    expect(refusal.error).toBe('duplicate_source')
    expect(refusal.duplicate.id).toBe(source.id)
    expect(refusal).toMatchObject({
      code: 'duplicate_source',
      message: expect.any(String),
      request_id: expect.any(String),
    })
  })
})
