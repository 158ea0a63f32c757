import { beforeAll, describe, expect, it } from 'vitest'
import { useFunctionsStack } from '../support/functions-stack.ts'
import { HARBOR, tokenOf, uploadAndIndex, userCaller } from '../support/http.ts'
import { CALLERS, FLOW_ENV } from './callers.ts'

const stack = useFunctionsStack({ worker: true, userEnv: FLOW_ENV })
const USERS = { A: 'member@harbor.example', B: 'admin@harbor.example' }
let knowledgeBaseId = ''
let agentId = ''

beforeAll(async () => {
  for (const [name, email] of Object.entries(USERS)) {
    const user = await userCaller(stack, email)
    await uploadAndIndex(
      user,
      `of-${name}.md`,
      `# Notes of ${name}\n\nThe locker code of ${name} is number ${name}${name}77.\n`,
    )
  }
  const admin = await userCaller(stack, USERS.B)
  knowledgeBaseId = (await admin.json(200, 'GET', '/api/knowledge-bases'))['knowledge_bases'][0].id
  agentId = (await admin.json(200, 'GET', '/api/agents'))['agents'][0].id
  // Recipe 1 of the cookbook, step 1, as written there.
  await stack.db.exec(`
    DROP POLICY IF EXISTS auth_read_sources ON ai.sources;
    CREATE POLICY auth_read_own_sources ON ai.sources
      FOR SELECT TO authenticated
      USING (
        EXISTS (
          SELECT 1 FROM public.documents
          WHERE source_id = ai.sources.id
            AND owner_id = auth.uid()
        )
      );
    DROP POLICY IF EXISTS auth_read_chunks ON ai.chunks;
    CREATE POLICY auth_read_own_chunks ON ai.chunks
      FOR SELECT TO authenticated
      USING (
        EXISTS (
          SELECT 1 FROM ai.indexed_sources ix
          JOIN public.documents d ON d.source_id = ix.source_id
          WHERE ix.id = ai.chunks.indexed_source_id
            AND d.owner_id = auth.uid()
        )
      );
  `)
})

/** Recipe 1, step 2. */
async function retrieveContext(kbId: string, userToken: string) {
  const params = new URLSearchParams({
    select: 'id,text,score,source_id,meta',
    knowledge_base_id: `eq.${kbId}`,
    order: 'score.desc',
    limit: '10',
  })
  const res = await fetch(`${stack.url}/rest/v1/chunks?${params}`, {
    headers: { 'Accept-Profile': 'ai', apikey: stack.keys.anon, Authorization: `Bearer ${userToken}` },
  })
  expect(res.status).toBe(200)
  return res.json()
}

describe.each(CALLERS)('F8 row-secured context, %s', (_name, tenantHeaders) => {
  /** Recipe 1, step 3. */
  async function askAgent(message: string, contextItems: any[], more: Record<string, unknown> = {}) {
    const res = await fetch(`${stack.url}/functions/v1/api/agents/${agentId}/run`, {
      method: 'POST',
      headers: {
        apikey: stack.keys.anon,
        Authorization: `Bearer ${stack.keys.serviceRole}`,
        'Content-Type': 'application/json',
        ...tenantHeaders,
      },
      body: JSON.stringify({
        message,
        context_items: contextItems.map((c) => ({ text: c.text, source_id: c.source_id, meta: c.meta })),
        ...more,
      }),
    })
    expect(res.status).toBe(200)
    return res.json()
  }

  it.each([
    ['A', 'B'],
    ['B', 'A'],
  ] as const)('gives %s an answer from their own rows only', async (own, foreign) => {
    const token = await tokenOf(await stack.signIn(USERS[own]))
    const chunks = await retrieveContext(knowledgeBaseId, token)
    expect(chunks).toHaveLength(1)
    expect(chunks[0]).toMatchObject({
      id: expect.any(String),
      score: expect.any(Number),
      source_id: expect.any(String),
    })
    expect(chunks[0].text).toContain(`${own}${own}77`)
    expect(JSON.stringify(chunks)).not.toContain(`${foreign}${foreign}77`)

    const mine = await askAgent(`What is the locker code of ${own}?`, chunks)
    expect(mine.content).toContain(`${own}${own}77`)
    const theirs = await askAgent(`What is the locker code of ${foreign}?`, chunks)
    expect(theirs.content).not.toContain(`${foreign}${foreign}77`)
  })

  it('keeps the tenant sealed although the app replaced our policies', async () => {
    const outsider = await tokenOf(await stack.signIn('member@meridian.example'))
    expect(await retrieveContext(knowledgeBaseId, outsider)).toEqual([])
    const rows = await stack.db.query<{ count: number }>(
      'select count(*)::int as count from ai.chunks where tenant_id = $1',
      [HARBOR],
    )
    expect(rows[0]?.count).toBe(2)
  })
})
