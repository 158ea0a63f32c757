import { beforeAll, describe, expect, it } from 'vitest'
import { createBulkhead, followRun, watchRuns } from '../../client/index.ts'
import { eventually } from '../support/eventually.ts'
import { useFunctionsStack } from './support/functions-stack.ts'
import {
  ABSENT,
  HARBOR,
  MERIDIAN,
  deltasOf,
  eventsOf,
  only,
  serviceCaller,
  uploadAndIndex,
  userCaller,
} from './support/http.ts'
import type { FunctionsCaller, Json } from './support/http.ts'

const stack = useFunctionsStack({ worker: true })
const MEMBER_ID = 'a0000000-0000-4000-8000-000000000003'
const NOTHING = 'I found nothing about this in your documents.'
let member: FunctionsCaller
let admin: FunctionsCaller
let stranger: FunctionsCaller
let outsider: FunctionsCaller
let both: FunctionsCaller
beforeAll(async () => {
  member = await userCaller(stack, 'member@harbor.example')
  admin = await userCaller(stack, 'admin@harbor.example')
  stranger = await userCaller(stack, 'member@meridian.example')
  outsider = await userCaller(stack, 'outsider@bulkhead.example')
  both = await userCaller(stack, 'both@bulkhead.example')
  await uploadAndIndex(
    member,
    'gates.md',
    '# Gates\n\nGate B opens at seven for reefer containers. It closes at nine.\n',
  )
  await uploadAndIndex(member, 'salary.md', '# Salary\n\nThe gate keeper earns ninety crowns.\n', {
    visibility: 'private',
  })
  await uploadAndIndex(stranger, 'ward.md', '# Ward\n\nGate B of the ward opens at noon for visitors only.\n')
})

const chat = async (user: FunctionsCaller, json: object) => eventsOf(await user.send('POST', '/chat', { json }))
const without = ({ request_id: _id, ...rest }: Json) => rest

describe('POST /chat', () => {
  it('streams an answer with citations that resolve to stored spans, and stores both', async () => {
    const events = await chat(member, { message: 'When does gate B open?' })
    expect(events[0]).toMatchObject({ event: 'session', session_id: expect.any(String), is_new_session: true, seq: 0 })
    expect(events[1]).toMatchObject({ event: 'start', session_id: events[0]?.['session_id'], seq: 1 })
    expect(events.at(-1)?.['event']).toBe('complete')
    const complete = only(events, 'complete')
    expect(complete).toMatchObject({
      status: 'completed',
      session_id: events[0]?.['session_id'],
      message_id: expect.any(String),
      provider: 'offline',
    })
    expect(complete['content']).toContain('“Gate B opens at seven for reefer containers.” [1]')
    expect(deltasOf(events)).toBe(complete['content'])
    expect(only(events, 'chunk')['content']).toBe(complete['content'])
    const [citation] = complete['citations']
    expect(citation.meta).toMatchObject({ source_name: 'gates.md', pages: [1], score: 1 })
    const [chunk] = await stack.db.query<Json>('select text, source_id from ai.chunks where id = $1', [
      citation.item_id,
    ])
    expect(chunk).toMatchObject({
      source_id: citation.source_id,
      text: expect.stringContaining('Gate B opens at seven'),
    })

    const sessionId = complete['session_id']
    const { messages, next_cursor } = await member.json(200, 'GET', `/chat/sessions/${sessionId}/messages`)
    expect(next_cursor).toBeNull()
    expect(messages).toEqual([
      {
        id: events[0]?.['message_id'],
        role: 'user',
        content: 'When does gate B open?',
        status: 'complete',
        citations: [],
        created_at: expect.any(String),
      },
      {
        id: complete['message_id'],
        role: 'assistant',
        content: complete['content'],
        status: 'complete',
        citations: [expect.objectContaining({ citation_key: 1, item_id: citation.item_id })],
        created_at: expect.any(String),
      },
    ])
  })

  it('answers from what the asker may see: another tenant, another member, nobody', async () => {
    const question = { message: 'What does the gate keeper earn?' }
    expect(only(await chat(member, question), 'complete')['content']).toContain('ninety crowns')
    for (const other of [admin, stranger]) {
      const complete = only(await chat(other, question), 'complete')
      expect(complete).toMatchObject({ content: NOTHING, citations: [], status: 'completed' })
    }
    expect(only(await chat(stranger, { message: 'When does gate B open?' }), 'complete')['content']).toContain('noon')
    await outsider.json(403, 'POST', '/chat', { json: question })
  })

  it('takes named knowledge bases, and none at all', async () => {
    const empty = await member.json(201, 'POST', '/api/knowledge-bases', { json: { name: 'Empty' } })
    const message = 'When does gate B open?'
    for (const knowledge_base_ids of [[empty['id']], [], [ABSENT]]) {
      expect(only(await chat(member, { message, knowledge_base_ids }), 'complete')['content']).toBe(NOTHING)
    }
    const [foreign] = (await stranger.json(200, 'GET', '/api/knowledge-bases'))['knowledge_bases']
    expect(only(await chat(member, { message, knowledge_base_ids: [foreign.id] }), 'complete')['content']).toBe(NOTHING)
  })

  it('continues a session of its owner only', async () => {
    const session_id = only(await chat(member, { message: 'When does gate B open?' }), 'complete')['session_id']
    const again = await chat(member, { session_id, message: 'When does gate B close?' })
    expect(again[0]).toMatchObject({ session_id, is_new_session: false })
    expect(only(again, 'complete')['content']).toContain('closes at nine')
    expect((await member.json(200, 'GET', `/chat/sessions/${session_id}/messages`))['messages']).toHaveLength(4)
    for (const other of [admin, stranger]) {
      const refusals = [
        await other.json(404, 'POST', '/chat', { json: { session_id, message: 'x' } }),
        await other.json(404, 'POST', '/chat', { json: { session_id: ABSENT, message: 'x' } }),
      ]
      for (const refusal of refusals)
        expect(without(refusal)).toEqual({
          error: 'Session not found',
          code: 'session_not_found',
          hint: expect.any(String),
        })
    }
  })

  it('lets members of several tenants choose, and keeps the answer inside the choice', async () => {
    const message = 'When does gate B open?'
    expect(await both.json(400, 'POST', '/chat', { json: { message } })).toMatchObject({ code: 'tenant_required' })
    const answers = []
    for (const tenant of [HARBOR, MERIDIAN]) {
      const there = await userCaller(stack, 'both@bulkhead.example', { 'x-tenant-id': tenant })
      const complete = only(await chat(there, { message }), 'complete')
      answers.push(complete['content'])
      const session_id = complete['session_id']
      expect(only(await chat(both, { session_id, message }), 'complete')['content']).toBe(complete['content'])
    }
    expect(answers[0]).toMatch(/seven/)
    expect(answers[0]).not.toMatch(/noon/)
    expect(answers[1]).toMatch(/noon/)
    expect(answers[1]).not.toMatch(/seven/)
  })

  it('asks the agent that was named, if the asker may see it', async () => {
    const agent = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Second' } })
    const events = await chat(member, { agent_id: agent['id'], message: 'When does gate B open?' })
    expect(events[0]).toMatchObject({ agent_id: agent['id'] })
    // It has no knowledge base of its own.
    expect(only(events, 'complete')['content']).toBe(NOTHING)
    for (const agent_id of [ABSENT, agent['id']]) {
      expect(await stranger.json(404, 'POST', '/chat', { json: { agent_id, message: 'x' } })).toMatchObject({
        code: 'agent_not_found',
      })
    }
  })

  it('goes on in a session that changes its agent, and in one whose agent is deleted', async () => {
    const second = await admin.json(201, 'POST', '/api/agents', { json: { name: 'Changed to' } })
    const begun = (await chat(member, { message: 'When does gate B open?' }))[0] ?? {}
    const { session_id, agent_id } = begun
    const turn = async (more: object) => {
      const events = await chat(member, { session_id, message: 'When does gate B close?', ...more })
      expect(only(events, 'start')).toMatchObject({ session_id })
      expect(only(events, 'complete')).toMatchObject({ session_id, is_new_session: false, status: 'completed' })
      return only(events, 'session')['agent_id']
    }
    expect(await turn({ agent_id: second['id'] })).toBe(second['id'])
    expect(await turn({ agent_id })).toBe(agent_id)
    expect(await turn({ agent_id: second['id'] })).toBe(second['id'])
    expect((await admin.send('DELETE', `/api/agents/${second['id']}`)).ok).toBe(true)
    expect(await turn({})).toBe(agent_id)
    const { messages } = await member.json(200, 'GET', `/chat/sessions/${session_id}/messages`)
    expect(messages.map((message: Json) => message['status'])).toEqual(Array(10).fill('complete'))
  })

  it('is for people: a service key must say for whom', async () => {
    const message = 'What does the gate keeper earn?'
    expect(
      await serviceCaller(stack, { 'x-tenant-id': HARBOR }).json(403, 'POST', '/chat', { json: { message } }),
    ).toMatchObject({ code: 'forbidden' })
    expect(await serviceCaller(stack).json(400, 'POST', '/chat', { json: { message } })).toMatchObject({
      code: 'tenant_required',
    })
    const acting = serviceCaller(stack, { 'x-tenant-id': HARBOR, 'x-act-as-user': MEMBER_ID })
    const complete = only(await chat(acting, { message }), 'complete')
    expect(complete['content']).toContain('ninety')
    await member.json(200, 'GET', `/chat/sessions/${complete['session_id']}/messages`)
    const elsewhere = serviceCaller(stack, { 'x-tenant-id': MERIDIAN, 'x-act-as-user': MEMBER_ID })
    await elsewhere.json(403, 'POST', '/chat', { json: { message } })
  })

  it('stores the answer also when the asker leaves at once', async () => {
    const response = await member.send('POST', '/chat', { json: { message: 'When does gate B open?' } })
    const reader = response.body!.getReader()
    const { session_id } = JSON.parse(
      new TextDecoder()
        .decode((await reader.read()).value)
        .split('\n')[0]
        ?.slice(6) ?? '',
    )
    await reader.cancel()
    await eventually(async () => {
      const { messages } = await member.json(200, 'GET', `/chat/sessions/${session_id}/messages`)
      expect(messages[1]).toMatchObject({ role: 'assistant', status: 'complete' })
    })
  })

  it('tells the other devices of the person', async () => {
    const complete = only(await chat(member, { message: 'When does gate B open?' }), 'complete')
    const rows = await stack.db.query<Json>(
      `select topic, private, payload from realtime.messages where event = 'chat_event' and payload->>'session_id' = $1 order by inserted_at`,
      [complete['session_id']],
    )
    expect(rows.map((row) => [row['topic'], row['private'], row['payload'].role])).toEqual([
      [`chat:${MEMBER_ID}`, true, 'user'],
      [`chat:${MEMBER_ID}`, true, 'assistant'],
    ])
    expect(rows[1]?.['payload']).toMatchObject({
      message_id: complete['message_id'],
      event: { event: 'complete', content: complete['content'] },
    })
  })

  it('is followed by another device while it is answered, and by one that comes later', async () => {
    const [laptop, phone] = [await stack.signIn('member@harbor.example'), await stack.signIn('member@harbor.example')]
    const seen: string[] = []
    const stop = watchRuns(phone, MEMBER_ID, (runId) => seen.push(runId))
    await eventually(() => expect(phone.realtime.getChannels().map(({ state }) => state)).toEqual(['joined']))
    const asked: Json[] = []
    for await (const event of createBulkhead(laptop).chat({ message: 'When does gate B open?' })) asked.push(event)
    const complete = only(asked, 'complete')
    await eventually(() => expect(seen).toEqual([complete['run_id']]))
    for (const topic of [`chat:${MEMBER_ID}`, false] as const) {
      const state = await followRun(phone, complete['run_id'], { topic }).finished()
      expect(state).toMatchObject({ status: 'completed', content: complete['content'], seq: complete['seq'] })
      expect(state.citations).toEqual(complete['citations'])
    }
    const other = await stack.signIn('admin@harbor.example')
    await expect(followRun(other, complete['run_id']).finished()).rejects.toMatchObject({ code: 'not_found' })
    stop()
    for (const client of [laptop, phone, other]) await client.removeAllChannels()
  })

  it.each([
    [{}, 'message is required'],
    [{ message: '  ' }, 'message is required'],
    [{ message: 'x'.repeat(20_001) }, 'message may have at most 20000 characters'],
    [{ message: 'x', session_id: 'x' }, 'session_id: Invalid UUID'],
    [{ message: 'x', knowledge_base_ids: 'x' }, 'knowledge_base_ids: Invalid input'],
    [{ message: 'x', user_id: ABSENT }, 'Unrecognized key: "user_id"'],
    [{ message: 'x', messages: [] }, 'Unrecognized key: "messages"'],
  ])('refuses wrong requests (%#)', async (json, message) => {
    expect((await member.json(400, 'POST', '/chat', { json }))['error']).toContain(message)
  })

  it('gives two tenants that ask the same at once their own answers only, 60 times', async () => {
    const question = { message: 'When does gate B open?' }
    const ask = async (user: FunctionsCaller) => (await user.send('POST', '/chat', { json: question })).text()
    for (let round = 0; round < 15; round++) {
      const [a, b, c, d] = await Promise.all([ask(member), ask(stranger), ask(member), ask(stranger)])
      for (const own of [a, c]) {
        expect(own).toContain('seven')
        expect(own).not.toMatch(/noon|ward/)
      }
      for (const own of [b, d]) {
        expect(own).toContain('noon')
        expect(own).not.toMatch(/seven|reefer/)
      }
    }
  }, 120_000)
})

describe('sessions', () => {
  it('are listed newest first, page by page, for their owner', async () => {
    const owner = await userCaller(stack, 'owner@meridian.example')
    const ids: string[] = []
    for (let i = 0; i < 3; i++)
      ids.unshift(only(await chat(owner, { message: `Question ${i}` }), 'complete')['session_id'])
    const first = await owner.json(200, 'GET', '/chat/sessions?limit=2')
    const second = await owner.json(200, 'GET', `/chat/sessions?limit=2&cursor=${first['next_cursor']}`)
    const listed = [...first['sessions'], ...second['sessions']]
    expect(listed.map((session: Json) => session['id'])).toEqual(ids)
    expect(second['next_cursor']).toBeNull()
    expect(listed[0]).toEqual({
      id: ids[0],
      tenant_id: MERIDIAN,
      agent_id: expect.any(String),
      title: 'Question 2',
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const others = await stranger.json(200, 'GET', '/chat/sessions?limit=100')
    expect(others['sessions'].map((session: Json) => session['id'])).not.toContain(ids[0])
    expect(await owner.json(200, 'GET', `/chat/sessions/${ids[0]}`)).toMatchObject({ title: 'Question 2' })
    for (const path of [`/chat/sessions/${ids[0]}`, `/chat/sessions/${ids[0]}/messages`]) {
      const foreign = await stranger.json(404, 'GET', path)
      expect(without(foreign)).toEqual(without(await stranger.json(404, 'GET', path.replace(ids[0] ?? '', ABSENT))))
      await owner.json(404, 'GET', path.replace(ids[0] ?? '', 'x'))
    }
  })

  it('give their messages page by page, in both directions', async () => {
    const session_id = only(await chat(member, { message: 'One' }), 'complete')['session_id']
    await chat(member, { session_id, message: 'Two' })
    const path = `/chat/sessions/${session_id}/messages`
    for (const order of ['asc', 'desc']) {
      const seen: string[] = []
      for (let cursor = ''; ; ) {
        const page = await member.json(200, 'GET', `${path}?limit=1&order=${order}${cursor && `&cursor=${cursor}`}`)
        seen.push(
          ...page['messages'].map((message: Json) => (message['role'] === 'user' ? message['content'] : 'answer')),
        )
        if (page['next_cursor'] === null) break
        cursor = page['next_cursor']
      }
      const expected = ['One', 'answer', 'Two', 'answer']
      expect(seen).toEqual(order === 'asc' ? expected : expected.reverse())
    }
    for (const query of ['cursor=x', 'limit=0', 'order=up']) await member.json(400, 'GET', `${path}?${query}`)
    await member.json(400, 'GET', '/chat/sessions?cursor=%22')
  })
})

describe('a removed member', () => {
  it('is refused at the next request, with the same token', async () => {
    const user = await userCaller(stack, 'viewer@harbor.example')
    const session_id = only(await chat(user, { message: 'When does gate B open?' }), 'complete')['session_id']
    await stack.db.query(`delete from public.memberships where user_id = 'a0000000-0000-4000-8000-000000000004'`)
    await user.json(404, 'POST', '/chat', { json: { session_id, message: 'x' } })
    await user.json(403, 'POST', '/chat', { json: { message: 'x' } })
    await user.json(404, 'GET', `/chat/sessions/${session_id}/messages`)
    expect((await user.json(200, 'GET', '/sources'))['sources']).toEqual([])
  })
})
