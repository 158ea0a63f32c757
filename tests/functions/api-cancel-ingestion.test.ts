import { beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, fileForm, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

// Without a worker: what is uploaded waits.
const stack = useFunctionsStack()
let member: FunctionsCaller
let viewer: FunctionsCaller
let stranger: FunctionsCaller
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  viewer = await userCaller(stack, 'viewer@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
})

const upload = (text: string): Promise<Json> =>
  member.json(201, 'POST', '/api/sources/upload', { body: fileForm(`${text}.txt`, text) })

describe('extraction', () => {
  it('is called off while it waits, once, and can be taken up again', async () => {
    const { id } = await upload('One waits')
    expect(await member.json(200, 'POST', `/api/sources/${id}/cancel`)).toEqual({ message: 'Extraction cancelled' })
    expect(await member.json(200, 'GET', `/api/sources/${id}`)).toMatchObject({ extraction_status: 'cancelled' })
    expect(await member.json(409, 'POST', `/api/sources/${id}/cancel`)).toMatchObject({ code: 'conflict' })
    expect(await member.json(200, 'POST', `/api/sources/${id}/reextract`)).toMatchObject({
      message: 'Extraction started',
    })
    expect(await member.json(200, 'GET', `/api/sources/${id}`)).toMatchObject({ extraction_status: 'pending' })
  })

  it('is nothing that others can call off', async () => {
    const { id } = await upload('Two waits')
    const absent = await stranger.json(404, 'POST', `/api/sources/${ABSENT}/cancel`)
    const foreign = await stranger.json(404, 'POST', `/api/sources/${id}/cancel`)
    expect(foreign).toEqual({ ...absent, request_id: foreign['request_id'] })
    await viewer.json(404, 'POST', `/api/sources/${id}/cancel`)
    expect(await member.json(200, 'GET', `/api/sources/${id}`)).toMatchObject({ extraction_status: 'pending' })
  })
})

describe('indexing', () => {
  it('is called off while it waits, in one knowledge base and by those who may', async () => {
    const { id: base } = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Calling off' } })
    const { id: other } = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Another' } })
    const body = fileForm('three.txt', 'Three waits', { knowledge_base_id: String(base) })
    await member.json(201, 'POST', '/sources', { body })
    const { items } = await member.json(200, 'GET', `/api/knowledge-bases/${base}/sources`)
    const path = `/sources/${items[0].id}/cancel`
    await stranger.json(404, 'POST', `/api/knowledge-bases/${base}${path}`)
    await viewer.json(404, 'POST', `/api/knowledge-bases/${base}${path}`)
    await member.json(404, 'POST', `/api/knowledge-bases/${other}${path}`)
    await member.json(400, 'POST', `/api/knowledge-bases/${base}/sources/none/cancel`)
    expect(await member.json(200, 'POST', `/api/knowledge-bases/${base}${path}`)).toEqual({
      message: 'Indexing cancelled',
    })
    expect(await member.json(409, 'POST', `/api/knowledge-bases/${base}${path}`)).toMatchObject({ code: 'conflict' })
    const after = await member.json(200, 'GET', `/api/knowledge-bases/${base}/sources?status=cancelled`)
    expect(after['total']).toBe(1)
  })
})
