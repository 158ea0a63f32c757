// The promise of the product: the same question, asked by two tenants at once, never brings a foreign row.
import type { SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, describe, expect, it } from 'vitest'
import { BulkheadError, type ChatEvent, createBulkhead, type Source } from '../../client/index.ts'
import { uploadText } from '../support/documents.ts'
import { useStack } from '../support/stack.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const MERIDIAN = '22222222-2222-4222-8222-222222222222'
const QUESTION = 'How long does the retention period of the archive last?'

const world = useStack({ functions: 'on-demand', worker: true })

describe('two tenants', () => {
  let harbor: SupabaseClient
  let meridian: SupabaseClient
  let harborSource: Source
  let meridianSource: Source

  beforeAll(async () => {
    harbor = await world.signIn('member@harbor.example')
    meridian = await world.signIn('member@meridian.example')
    harborSource = await uploadText(
      harbor,
      'harbor.md',
      '# Archive\n\nThe retention period of the archive lasts seven years at Harbor. CANARYHARBOR\n',
    )
    meridianSource = await uploadText(
      meridian,
      'meridian.md',
      '# Archive\n\nThe retention period of the archive lasts thirty years at Meridian. CANARYMERIDIAN\n',
    )
  })

  it('asking the same question at once, 200 times interleaved, each find their own rows and no foreign one', async () => {
    const sides = [
      { bulkhead: createBulkhead(harbor), own: harborSource.id, foreign: 'CANARYMERIDIAN' },
      { bulkhead: createBulkhead(meridian), own: meridianSource.id, foreign: 'CANARYHARBOR' },
    ]
    let asked = 0
    const wrong: unknown[] = []
    const asker = async () => {
      while (asked < 200) {
        asked += 1
        const answers = await Promise.all(sides.map((side) => side.bulkhead.search({ query: QUESTION, topK: 10 })))
        sides.forEach((side, i) => {
          const rows = answers[i] ?? []
          const isRight =
            rows.length > 0 && rows.every((row) => row.source_id === side.own && !row.text.includes(side.foreign))
          if (!isRight) wrong.push(rows)
        })
      }
    }
    await Promise.all(Array.from({ length: 8 }, asker))
    expect(wrong).toEqual([])
  }, 180_000)

  it('reading the same tables at once through PostgREST never see each other', async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const [client, tenant] = i % 2 ? ([harbor, HARBOR] as const) : ([meridian, MERIDIAN] as const)
        const { data, error } = await client.schema('ai').from('chunks').select('tenant_id,text')
        return error ?? (data.length > 0 && data.every((row) => row.tenant_id === tenant))
      }),
    )
    expect(outcomes.filter((outcome) => outcome !== true)).toEqual([])
  })

  it('chatting at once get answers from their own documents only', async () => {
    const ask = async (client: SupabaseClient): Promise<string> => {
      const events: ChatEvent[] = []
      for await (const event of createBulkhead(client).chat({ message: QUESTION })) events.push(event)
      return JSON.stringify(events)
    }
    for (let round = 0; round < 5; round++) {
      const [ofHarbor, ofMeridian] = await Promise.all([ask(harbor), ask(meridian)])
      expect(ofHarbor).toContain('seven years')
      expect(ofHarbor).not.toMatch(/thirty years|CANARYMERIDIAN/)
      expect(ofMeridian).toContain('thirty years')
      expect(ofMeridian).not.toMatch(/seven years|CANARYHARBOR/)
    }
  })

  it("get the same answer for the other's id as for one that does not exist", async () => {
    const bulkhead = createBulkhead(meridian)
    const failure = async (id: string) => {
      const error = await bulkhead.getSource(id).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(BulkheadError)
      const { message, code, status } = error as BulkheadError
      return { message, code, status }
    }
    expect(await failure(harborSource.id)).toEqual(await failure('99999999-9999-4999-8999-999999999999'))
    expect((await createBulkhead(harbor).getSource(harborSource.id)).id).toBe(harborSource.id)
  })

  it('may hold the same bytes: a duplicate is found inside a tenant only', async () => {
    const text = 'The same leaflet, word for word, in both houses.'
    const first = await uploadText(harbor, 'leaflet.md', text)
    const second = await uploadText(meridian, 'leaflet.md', text)
    expect(second.id).not.toBe(first.id)
    const again = await createBulkhead(harbor)
      .uploadSource(new Blob([text]), { name: 'copy.md' })
      .catch((reason: unknown) => reason)
    expect(again).toMatchObject({ code: 'duplicate_source', status: 409, details: { duplicate: { id: first.id } } })
  })

  it('put a document where they say, and wait until it can be searched there', async () => {
    const bulkhead = createBulkhead(harbor)
    const base = await harbor.schema('ai').from('knowledge_bases').insert({ name: 'Tariffs' }).select('id').single()
    const knowledgeBaseId = base.data?.id as string
    const uploaded = await bulkhead.uploadSource(new Blob(['The berth fee is twelve crowns.']), {
      name: 'fees.md',
      knowledgeBaseIds: [knowledgeBaseId],
      visibility: 'private',
      metadata: { year: 2026 },
    })
    const source = await bulkhead.waitUntilIndexed(uploaded.id)
    expect(source.indexing).toMatchObject([{ knowledge_base_id: knowledgeBaseId, index_status: 'indexed' }])
    const found = await bulkhead.search({ query: 'What is the berth fee?', knowledgeBaseId })
    expect(found[0]).toMatchObject({ source_id: source.id, text: 'The berth fee is twelve crowns.' })

    const colleague = createBulkhead(await world.signIn('admin@harbor.example'))
    expect(await colleague.search({ query: 'What is the berth fee?', knowledgeBaseId })).toEqual([])
    await expect(createBulkhead(meridian).search({ query: 'x', knowledgeBaseId })).rejects.toBeInstanceOf(BulkheadError)
  })

  it('are both open to somebody in both, one at a time by x-tenant-id', async () => {
    const both = await world.signIn('both@bulkhead.example')
    const chunks = await both.schema('ai').from('chunks').select('tenant_id')
    expect(new Set(chunks.data?.map((row) => row.tenant_id))).toEqual(new Set([HARBOR, MERIDIAN]))
    for (const [tenantId, own] of [
      [HARBOR, harborSource.id],
      [MERIDIAN, meridianSource.id],
    ] as const) {
      const rows = await createBulkhead(both, { tenantId }).search({ query: QUESTION, topK: 20 })
      expect(rows.length).toBeGreaterThan(0)
      expect(rows[0]?.source_id).toBe(own)
      const texts = rows.map((row) => row.text).join(' ')
      expect(texts).not.toContain(tenantId === HARBOR ? 'CANARYMERIDIAN' : 'CANARYHARBOR')
    }
    await expect(createBulkhead(both).chat({ message: QUESTION }).next()).rejects.toMatchObject({
      code: 'tenant_required',
    })
  })

  it('close to a removed member at the next request, whatever their token says', async () => {
    const leaving = await world.signIn('viewer@harbor.example')
    const bulkhead = createBulkhead(leaving)
    expect(await bulkhead.search({ query: QUESTION })).not.toEqual([])
    const base = (await leaving.schema('ai').from('knowledge_bases').select('id').single()).data?.id as string

    const owner = await world.signIn('owner@harbor.example')
    const me = (await leaving.auth.getUser()).data.user?.id ?? ''
    const removed = await owner.from('memberships').delete().eq('user_id', me).select()
    expect(removed.data).toHaveLength(1)

    expect((await leaving.schema('ai').from('chunks').select('id')).data).toEqual([])
    await expect(bulkhead.search({ query: QUESTION, knowledgeBaseId: base })).rejects.toBeInstanceOf(BulkheadError)
    await expect(bulkhead.getSource(harborSource.id)).rejects.toMatchObject({ code: 'not_found' })
    await expect(bulkhead.chat({ message: QUESTION }).next()).rejects.toMatchObject({ code: 'forbidden' })
  })
})
