import { existsSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from './support/functions-stack.ts'
import { ABSENT, MERIDIAN, uploadAndIndex, userCaller } from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true })
let member: FunctionsCaller
let manual: Json
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  const text = '# Storms\n\nIn storms the harbour is closed and every ship is told by radio.\n'
  manual = await uploadAndIndex(member, 'manual.md', text, { metadata: '{"kind":"manual"}' })
  await uploadAndIndex(member, 'notice.md', '# Notice\n\nThe quay is closed during storms, says the office.\n')
})

const search = (user: FunctionsCaller, json: object, status = 200) => user.json(status, 'POST', '/search', { json })
const sourcesOf = (found: Json): string[] => found['results'].map((hit: Json) => hit['source_id'])

describe('what is sent to POST /search', () => {
  it.each([
    [{}, 'query is required'],
    [{ query: '   ' }, 'query is required'],
    [{ query: 7 }, 'query is required'],
    [{ query: 'x'.repeat(4001) }, 'query may have at most 4000 characters'],
    [{ query: 'x', tenant_id: MERIDIAN }, 'tenant_id'],
    [{ query: 'x', match_count: 1e9 }, 'match_count'],
    [{ query: 'x', top_k: 1e9 }, 'top_k: Too big'],
    [{ query: 'x', top_k: -1 }, 'top_k: Too small'],
    [{ query: 'x', vector_weight: -1 }, 'vector_weight: Too small'],
    [{ query: 'x', rrf_k: -1 }, 'rrf_k'],
    [{ query: 'x', fusion: 'max' }, 'fusion: Invalid option'],
    [{ query: 'x', knowledge_base_ids: [] }, 'knowledge_base_ids: Too small'],
    [{ query: 'x', knowledge_base_ids: ['k'] }, 'Invalid UUID'],
    [{ query: 'x', knowledge_base_ids: Array(201).fill(ABSENT) }, 'knowledge_base_ids: Too big'],
    [{ query: 'x', source_ids: Array(201).fill(ABSENT) }, 'source_ids: Too big'],
    [{ query: 'x', source_ids: [`${ABSENT},and(id.gt.0)`] }, 'Invalid UUID'],
    [{ query: 'x', filter_metadata: 'or=(id.gt.0)' }, 'filter_metadata: Invalid input'],
    [{ query: 'x', filter_metadata: [1] }, 'filter_metadata: Invalid input'],
    [{ query: 'x', expand: { neighbors: 6 } }, 'expand.neighbors: Too big'],
    [{ query: 'x', expand: { neighbors: 1 }, context: 'pages' }, 'whole pages'],
    [{ query: 'x', max_context_tokens: 1 }, 'max_context_tokens: Too small'],
    [{ query: 'x', rerank: { candidate_count: 1000 } }, 'rerank'],
    [{ query: 'a\u0000b' }, 'cannot be stored'],
    [{ query: 'a\ud800b' }, 'cannot be stored'],
    [{ query: 'x', filter_metadata: { 'a\u0000': 1 } }, 'cannot be stored'],
  ])('is refused with a sentence (%#)', async (json, message) => {
    const refusal = await search(member, json, 400)
    expect(refusal).toMatchObject({ code: 'invalid_request', request_id: expect.any(String) })
    expect(refusal['error']).toContain(message)
  })

  it.each([
    { query_embedding: [0.1, 0.2] },
    { query_embedding: '[NaN]' },
    { query_embedding: null },
    { embedding: [0.1] },
    { vector: Array(384).fill(0) },
    { embedding_model: 'bulkhead-hash-384' },
  ])('R04: is never a vector, nor the name of a space (%#)', async (json) => {
    const refusal = await search(member, { query: 'storms', ...json }, 400)
    expect(refusal['error']).toContain(Object.keys(json)[0])
    expect((await search(member, { query: 'storms' }))['results'][0]).not.toHaveProperty('embedding')
  })

  it('is refused when it is too much, not JSON, or nests for its own sake', async () => {
    const send = (body: string, type = 'application/json') =>
      member.send('POST', '/search', { body, headers: { 'content-type': type } })
    expect((await send(JSON.stringify({ query: 'x'.repeat(1_100_000) }))).status).toBe(413)
    expect((await send('query=x', 'application/x-www-form-urlencoded')).status).toBe(415)
    expect((await send('{"query"')).status).toBe(400)
    for (const depth of [12, 1000, 100_000]) {
      const nested = `{"query":"x","filter_metadata":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`
      expect((await send(nested)).status).toBe(400)
    }
    expect((await member.send('GET', '/search')).status).toBe(404)
    expect((await member.send('POST', '/search/x', { json: { query: 'x' } })).status).toBe(404)
  })

  it('R06: is data in every field: operators mean nothing in a filter', async () => {
    for (const filter_metadata of [
      { kind: { $ne: null } },
      { 'kind->>x': 'manual' },
      { kind: 'manual"} or true' },
      { __proto__: { kind: 'manual' }, kind: '%' },
      { $or: [{ kind: 'manual' }, {}] },
    ]) {
      expect((await search(member, { query: 'storms', filter_metadata }))['results']).toEqual([])
    }
    expect(sourcesOf(await search(member, { query: 'storms', filter_metadata: { kind: 'manual' } }))).toContain(
      manual['id'],
    )
  })

  const HOSTILE = [
    "'; drop table ai.chunks; --",
    '((((((((((',
    '"unclosed phrase',
    '-"" -- - -a',
    '!!! & | <-> :*',
    `${'('.repeat(2000)}${')'.repeat(1999)}`,
    `${'a | '.repeat(900)}b`,
    `-${'x'.repeat(3998)}`,
    `"${'word '.repeat(700)}"`,
    'ｔａｒｉｆｆ ᵗᵃʳⁱᶠᶠ',
    '\u202Estorms\u202C \u200B\u200D\uFEFF',
    '漢'.repeat(4000),
    '👩‍👩‍👧‍👦'.repeat(300),
    'e\u0301'.repeat(2000),
    '\u0001\u0002\u001b[31m',
    '%s%n${7*7}{{7*7}}',
    '0'.repeat(4000),
    '\\\\\\',
    '[1.0,2.0]',
  ]
  const blns = new URL('../../../shared/data/attacks/blns.json', import.meta.url)
  const naughty: string[] = existsSync(blns) ? JSON.parse(readFileSync(blns, 'utf8')) : []

  it('R07: may be any text: an answer or a clear refusal, never a failure', async () => {
    const statuses: [number, string][] = []
    for (const query of [...HOSTILE, ...naughty]) {
      const response = await member.send('POST', '/search', {
        json: { query, top_k: 2, explain: true, expand: { neighbors: 1 } },
      })
      const body = await response.text()
      const isFine = response.status === 200 || (response.status === 400 && JSON.parse(body).code === 'invalid_request')
      if (!isFine) statuses.push([response.status, query.slice(0, 60)])
    }
    expect(statuses).toEqual([])
    expect((await search(member, { query: 'storms' }))['results']).not.toEqual([])
  }, 180_000)
})
