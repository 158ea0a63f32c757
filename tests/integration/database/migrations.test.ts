// The migrations as a whole: names, order, what they need, and that a hosted project can take them.
import { readFileSync, readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { applyMigrations, applySeeds } from '../../../local/database/migrations.ts'
import { splitStatements } from '../../../local/database/statements.ts'
import { loadPgtap, runPgtapFile } from '../../../scripts/support/pgtap.ts'
import { type HostedDatabase, withHostedDatabase } from '../../support/hosted-database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'

const FOLDER = 'supabase/migrations'
const files = readdirSync(FOLDER).sort()
const statementsOf = (file: string) => readFileSync(`${FOLDER}/${file}`, 'utf8').replace(/^\s*--.*$/gm, '')

describe('migration files', () => {
  it('are named by a time and what they do', () => {
    expect(files.length).toBeGreaterThan(40)
    expect(
      files.filter(
        (file) => !/^\d{14}_create_[a-z0-9_]+\.sql$|^\d{14}_(alter|add|drop|replace|grant)_[a-z0-9_]+\.sql$/.test(file),
      ),
    ).toEqual([])
  })

  it('have times that exist, each used once', () => {
    const versions = files.map((file) => file.slice(0, 14))
    expect(new Set(versions).size).toBe(versions.length)
    const impossible = versions.filter((version) => {
      const [, year, month, day, hour, minute, second] = /^(....)(..)(..)(..)(..)(..)$/.exec(version) ?? []
      const time = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
      return Number.isNaN(time.getTime()) || time.toISOString().replace(/\D/g, '').slice(0, 14) !== version
    })
    expect(impossible).toEqual([])
  })

  it('leave transactions to whoever applies them', () => {
    expect(
      files.filter((file) => /^\s*(begin|commit|rollback)\s*;/im.test(statementsOf(file).replace(/\$\$.*?\$\$/gs, ''))),
    ).toEqual([])
  })

  it('create what must not be there yet, so that a clash is news', () => {
    const tolerant = files.filter((file) =>
      /create (or replace|(table|index|function|policy) if not exists)/i.test(statementsOf(file)),
    )
    // pg-boss's own statements, and files that say in their name that they replace something.
    expect(tolerant.filter((file) => !/_create_pgboss\.sql$|^\d{14}_replace_/.test(file))).toEqual([])
  })

  it('name no object of the platform that `supabase start` makes', () => {
    const made = files.filter((file) =>
      /create (table|function|schema|role|type)\s+(auth|storage|realtime|vault|graphql|graphql_public|net|cron)\./i.test(
        statementsOf(file),
      ),
    )
    expect(made).toEqual([])
  })
})

describe('config.toml', () => {
  const config = readFileSync('supabase/config.toml', 'utf8')

  it('exposes public, graphql_public and ai, and neither private nor the queue', () => {
    const schemas = /^schemas\s*=\s*(\[.*\])$/m.exec(config)?.[1] ?? '[]'
    expect(JSON.parse(schemas)).toEqual(['public', 'graphql_public', 'ai'])
    const searchPath = /^extra_search_path\s*=\s*(\[.*\])$/m.exec(config)?.[1] ?? '[]'
    expect(JSON.parse(searchPath)).toEqual(['public', 'extensions'])
  })

  it('switches the token hook on', () => {
    expect(config).toMatch(
      /\[auth\.hook\.custom_access_token\]\s+enabled = true\s+uri = "pg-functions:\/\/postgres\/public\/custom_access_token_hook"/,
    )
  })
})

describe('applied migrations', () => {
  const world = usePreparedDatabase(NATIVE_URL)

  it('are recorded as the CLI records them, in order', async () => {
    const rows = await world.db.query<{ version: string; name: string; count: number }>(
      `select version, name, cardinality(statements) as count from supabase_migrations.schema_migrations order by version`,
    )
    expect(rows.map(({ version, name }) => `${version}_${name}.sql`)).toEqual(files)
    expect(rows.filter(({ count }) => count === 0)).toEqual([])
  })

  it('are applied once', async () => {
    expect(await applyMigrations(world.db, 'supabase')).toEqual([])
    expect(await applySeeds(world.db, 'supabase', ['./seed.sql'])).toEqual([])
  })
})

describe.skipIf(noNativeServer())('on a hosted project', () => {
  let hosted: HostedDatabase
  let close = () => {}
  let closed: Promise<void> = Promise.resolve()

  beforeAll(async () => {
    await new Promise<void>((ready, failed) => {
      closed = withHostedDatabase(NATIVE_URL ?? '', async (made) => {
        hosted = made
        ready()
        await new Promise<void>((resolve) => (close = resolve))
      })
      closed.catch(failed)
    })
  })
  afterAll(async () => {
    close()
    await closed
  })

  it('the owner is no superuser', async () => {
    const [row] = await hosted.owner.query('select rolsuper, rolbypassrls from pg_roles where rolname = current_user')
    expect(row).toEqual({ rolsuper: false, rolbypassrls: true })
  })

  it('all migrations and the seed apply', async () => {
    expect(await applyMigrations(hosted.owner, 'supabase')).toEqual(files)
    expect(await applySeeds(hosted.owner, 'supabase', ['./seed.sql'])).toEqual(['supabase/seed.sql'])
  })

  it("nothing but the policy is made in the platform's schemas", async () => {
    const made = await hosted.superuser.query(
      `select pg_class.oid::regclass::text as made
       from pg_class join pg_namespace on pg_namespace.oid = pg_class.relnamespace
       where pg_class.relowner = $1::regrole and pg_namespace.nspname in ('auth', 'storage', 'realtime', 'vault', 'extensions', 'graphql_public')
       union all
       select pg_proc.oid::regprocedure::text
       from pg_proc join pg_namespace on pg_namespace.oid = pg_proc.pronamespace
       where pg_proc.proowner = $1::regrole and pg_namespace.nspname in ('auth', 'storage', 'realtime', 'vault', 'extensions', 'graphql_public')
       union all
       select pg_trigger.tgname::text
       from pg_trigger join pg_class on pg_class.oid = pg_trigger.tgrelid join pg_namespace on pg_namespace.oid = pg_class.relnamespace
       where pg_namespace.nspname in ('auth', 'storage', 'realtime') and not pg_trigger.tgisinternal
         and pg_trigger.tgfoid in (select oid from pg_proc where proowner = $1::regrole)`,
      [hosted.role],
    )
    expect(made).toEqual([])
    const policies = await hosted.superuser.query(
      `select policyname from pg_policies where schemaname in ('auth', 'storage', 'realtime') order by policyname`,
    )
    expect(policies).toEqual([
      { policyname: 'people read the channels of runs they may read' },
      { policyname: 'people read their own chat channel' },
    ])
  })

  // Definer functions and foreign keys now run as an owner whom FORCE ROW LEVEL SECURITY would hold, did it not bypass it; and
  // the platform's default privileges give everybody everything on what is new in `public`.
  it.each([
    'access/every_table_keeps_its_matrix',
    'access/columns_that_decide_cannot_be_abused',
    'schema/functions_are_on_the_list',
    'schema/grants_are_on_the_list',
    'schema/row_level_security_is_forced_everywhere',
    'tenancy/a_tenant_keeps_an_owner',
    'tenancy/accept_invitation_is_for_the_invited_only',
    'tenancy/an_account_can_always_be_deleted',
    'tenancy/create_tenant_makes_the_caller_its_owner',
    'tenancy/the_token_hook_names_the_only_tenant',
    'sources/an_upload_is_completed_once',
    'sources/deleting_queues_the_removal_of_the_bytes',
    'sources/documents_record_claims',
    'sources/visibility_takes_effect_at_the_next_statement',
    'budgets/budgets_are_set_by_admins',
    'budgets/tokens_are_reserved_before_they_are_spent',
    'ledger/indexing_swaps_all_at_once',
    'queue/enqueue_joins_the_transaction',
    'realtime/messages_reach_their_person_only',
    'runs/a_run_is_taken_up_by_one',
    'runs/people_cancel_and_decide',
    'runs/sessions_run_one_at_a_time',
    'runs/logs_fold_and_go',
    'search/counts_follow_every_change',
    'search/legs_are_fused_and_explained',
    'search/rows_and_scores_are_the_callers_own',
  ])('%s holds', async (name) => {
    await loadPgtap(hosted.superuser)
    const { passed, failures } = await runPgtapFile(hosted.superuser, `tests/database/${name}.test.sql`)
    expect(failures).toEqual([])
    expect(passed).toBeGreaterThan(5)
  })

  it('a pre-request function that the project has stays; without one it gets ours', async () => {
    const file = readFileSync(`${FOLDER}/20261122101100_create_pre_request.sql`, 'utf8')
    const setUp = splitStatements(file).find((statement) => statement.startsWith('do '))!
    const settings = () =>
      hosted.superuser.query(
        `select setting from pg_db_role_setting cross join unnest(setconfig) as setting
         where setrole = 'authenticator'::regrole and setdatabase = (select oid from pg_database where datname = current_database())`,
      )
    const ours = [{ setting: 'pgrst.db_pre_request=ai.check_request' }]
    const ofAuthenticator = `alter role authenticator in database ${hosted.role}`
    expect(await settings()).toEqual(ours)
    await hosted.owner.query(`${ofAuthenticator} set pgrst.db_pre_request = 'public.my_own'`)
    await hosted.owner.query(setUp)
    expect(await settings()).toEqual([{ setting: 'pgrst.db_pre_request=public.my_own' }])
    await hosted.owner.query(`${ofAuthenticator} reset pgrst.db_pre_request`)
    await hosted.owner.query(setUp)
    expect(await settings()).toEqual(ours)
  })

  it('the owner can do what the worker does as it: read and write the queue', async () => {
    const [row] = await hosted.owner.query<{ id: string }>(`select ai.enqueue('remove_object', '{"id": "x"}') as id`)
    const jobs = await hosted.owner.query(`select name, state::text from pgboss.job where id = $1`, [row?.id])
    expect(jobs).toEqual([{ name: 'remove_object', state: 'created' }])
  })
})
