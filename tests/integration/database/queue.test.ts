// The queue's schema is a migration of ours: it must be the one that the installed pg-boss expects.
import { readFileSync } from 'node:fs'
import { getConstructionPlans } from 'pg-boss'
import { afterEach, describe, expect, it } from 'vitest'
// Not among the package's exports; the only place where the name of the channel is made.
import { notifyChannelSql } from '../../../node_modules/pg-boss/dist/plans.js'
import { eventually } from '../../support/eventually.ts'
import { usePreparedDatabase } from '../../support/prepared-database.ts'

const MIGRATION = 'supabase/migrations/20261121091100_create_pgboss.sql'

/** Statements without comments, the package's own transaction, and white space. */
const statements = (sql: string): string[] =>
  sql
    .replace(/^--.*$/gm, '')
    .replace(/^\s*(BEGIN|COMMIT|SET LOCAL [^;]*|SELECT pg_advisory_xact_lock\([^;]*\));\s*$/gm, '')
    .replace('CREATE SCHEMA IF NOT EXISTS', 'CREATE SCHEMA')
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim())
    .filter((statement) => statement !== '')

describe('the migration of pg-boss', () => {
  const [theirs = '', ours = ''] = readFileSync(MIGRATION, 'utf8').split(/^(?=comment on schema pgboss)/m)

  it('is what the installed version would construct', () => {
    expect(statements(theirs)).toEqual(statements(getConstructionPlans('pgboss')))
  })

  it('adds a comment, takes rights away, and changes no object', () => {
    const added = statements(ours).map((statement) => statement.split(' ').slice(0, 2).join(' '))
    expect(
      new Set(added.filter((start) => /^(comment|revoke|do|create|alter|drop|grant|insert|update)/.test(start))),
    ).toEqual(new Set(['comment on', 'revoke all', 'revoke execute', 'do $$']))
  })
})

describe('ai.enqueue', () => {
  const world = usePreparedDatabase()
  let stop: (() => Promise<void>) | undefined
  afterEach(() => stop?.())

  it('wakes the workers on the channel that pg-boss listens on, when the transaction commits', async () => {
    const [row] = await world.db.query<{ channel: string }>(`select ${notifyChannelSql('pgboss')} as channel`)
    const heard: string[] = []
    stop = await world.db.listen(row?.channel ?? '', (queue) => heard.push(queue))

    const undone = world.db.transaction(async (tx) => {
      await tx.query(`select ai.enqueue('remove_object', '{"id": "x"}')`)
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    await world.db.query(`select ai.enqueue('extract_source', '{"id": "x"}')`)

    await eventually(() => expect(heard).toEqual(['extract_source']))
  })
})
