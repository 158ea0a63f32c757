import type { SupabaseClient } from '@supabase/supabase-js'
import { beforeAll, describe, expect, it } from 'vitest'
import { type AuditRow, hashOf } from '../../support/audit-hash.ts'
import { useStack } from '../../support/stack.ts'
import { HARBOR, MERIDIAN } from '../support/http.ts'

// Row X06 of the attack catalogue through the Data API: what the holders of tokens and of the secret key can do to the audit log.
// What its owner can do, and how that shows, is in tests/database/audit.

const ADMIN_ID = 'a0000000-0000-4000-8000-000000000002'

describe('X06 the audit log', () => {
  const stack = useStack()
  let admin: SupabaseClient
  beforeAll(async () => {
    admin = await stack.signIn('admin@harbor.example')
    const { error } = await admin.from('groups').insert({ tenant_id: HARBOR, name: 'Night shift' })
    expect(error).toBeNull()
  })
  const log = (client: SupabaseClient, tenant = HARBOR) =>
    client.schema('ai').from('audit_events').select('*').eq('tenant_id', tenant).order('seq')
  const verify = (client: SupabaseClient, args: Record<string, unknown> = {}) =>
    client.schema('ai').rpc('verify_audit', { tenant_id: HARBOR, ...args })

  it('tells an admin who did what', async () => {
    const { data } = await log(admin).eq('action', 'group.created').eq('actor_id', ADMIN_ID)
    expect(data).toMatchObject([{ act: null, subject_type: 'group', detail: {} }])
    expect(JSON.stringify(data)).not.toContain('Night shift')
  })

  it('tells a member and another tenant nothing', async () => {
    for (const who of ['member@harbor.example', 'viewer@harbor.example', 'owner@meridian.example']) {
      const client = await stack.signIn(who)
      expect((await log(client)).data, who).toEqual([])
      expect((await verify(client)).error, who).toMatchObject({ code: 'PT403' })
    }
    expect((await log(admin, MERIDIAN)).data).toEqual([])
    expect((await verify(admin)).data).toMatchObject({ ok: true })
  })

  it('cannot be changed, neither by an admin nor with the secret key', async () => {
    const before = (await log(stack.service)).data
    for (const client of [admin, stack.service]) {
      const events = () => client.schema('ai').from('audit_events')
      const attempts = await Promise.all([
        events().update({ action: 'x.y' }).eq('tenant_id', HARBOR),
        events().delete().eq('tenant_id', HARBOR),
        events().insert({ ...before?.at(-1), seq: 100_000 }),
        events().upsert({ ...before?.at(-1), action: 'x.y' }),
        client.schema('private').from('audit_heads').update({ seq: 1 }).eq('tenant_id', HARBOR),
        client
          .schema('private')
          .rpc('record_audit', { tenant_id: HARBOR, action: 'x.y', subject_type: 'x', subject_id: 'x' }),
      ])
      expect(attempts.map(({ error }) => error?.code)).toEqual([
        '42501',
        '42501',
        '42501',
        '42501',
        'PGRST106',
        'PGRST106',
      ])
    }
    expect((await log(stack.service)).data).toEqual(before)
    expect((await verify(stack.service)).data).toMatchObject({ ok: true, checked: before?.length })
  })

  it('is exported page by page, and checked by who has nothing but the rows', async () => {
    const rows: AuditRow[] = []
    for (let page = 0; page < 100; page += 1) {
      const { data } = await log(stack.service)
        .gt('seq', rows.at(-1)?.seq ?? 0)
        .limit(5)
      if (!data?.length) break
      rows.push(...(data as AuditRow[]))
    }
    expect(rows.length).toBeGreaterThan(5)
    rows.forEach((row, index) => {
      expect(row.seq).toBe(index + 1)
      expect(row.prev_hash).toBe(rows[index - 1]?.hash ?? '0'.repeat(64))
      expect(hashOf(row), `row ${row.seq}`).toBe(row.hash)
    })
    const last = rows.at(-1)!
    // Who has noted the end goes on from there, and sees whether it is still the same.
    expect((await verify(admin, { after_seq: last.seq, after_hash: last.hash })).data).toMatchObject({ ok: true })
    expect((await verify(admin, { after_seq: last.seq, after_hash: last.prev_hash })).data).toMatchObject({
      ok: false,
      reason: 'anchor_changed',
      first_bad_seq: last.seq,
    })
  })
})
