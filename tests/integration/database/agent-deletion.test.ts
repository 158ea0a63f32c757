// An agent is deleted while its runs begin, go on, wait and end, and while what they hang on is deleted, too. Each is stopped in
// its midst, where it holds locks and is about to ask for more, and the other begins. Neither may come to wait for the other in a circle.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { DbCaller, Row, Sql } from '../../../local/database/database.ts'
import { NATIVE_URL, noNativeServer, usePreparedDatabase } from '../../support/prepared-database.ts'
import { call, person, SERVICE } from '../../support/two-sessions.ts'
import { createStandStill, meetStandingStill } from './stand-still.ts'
import type { Actor } from './stand-still.ts'

const HARBOR = '11111111-1111-4111-8111-111111111111'
const ADMIN = 'a0000000-0000-4000-8000-000000000002'
const MEMBER = 'a0000000-0000-4000-8000-000000000003'
/** Held while somebody is to stand still. */
const GATE = 79

type Run = { id: string; run_id: string; lease_token: string; session_id: string; session_uuid: string }
/** An agent with a run that has tokens reserved in a chat, one that waits for an approval, one whose executor died, and a schedule whose last run is over. */
type World = {
  agent: string
  chat: string
  open: Run
  reservation: string
  waiting: Run
  approval: string
  lost: Run
  schedule: string
  due: string
  base: string
  budgets: string[]
}
type Operation = {
  caller: DbCaller
  work: (world: World) => (tx: Sql) => Promise<unknown>
  /** Where it is stopped: before it changes its first row of this table, which it has locked. */
  stops: string[]
  /** What it may be answered besides that it is done: of what is gone, nothing can be done. */
  refusals?: string[]
}

const TRACE = {
  steps: [{ step: 1, model: 'm' }],
  tool_calls: [{ step: 1, call_id: 'c1', tool_name: 't', result: 'ok', is_error: false, duration_ms: 1 }],
}
const remove = (table: string, id: (world: World) => string) => (world: World) => async (tx: Sql) =>
  (await tx.query(`delete from ${table} where id = $1 returning id`, [id(world)])).length
const gone = ['PT403', 'PT404', 'PT409']

const DELETION: Operation = {
  caller: person(ADMIN),
  work: remove('ai.agents', ({ agent }) => agent),
  // The first thing it does, and the last.
  stops: ['agents', 'schedules'],
}
const OTHERS: Record<string, Operation> = {
  'its run ends': {
    caller: SERVICE,
    work: ({ open }) =>
      call(
        `ai.finish_run($1, $2, 'completed', 'At nine.', trace => $3)`,
        open.id,
        open.lease_token,
        JSON.stringify(TRACE),
      ),
    stops: ['tool_call_events', 'agent_runs', 'chat_sessions'],
  },
  'its run settles tokens': {
    caller: SERVICE,
    work: ({ reservation, open }) =>
      call(`ai.settle_tokens($1, $2, '{"total_tokens": 7}')`, reservation, open.lease_token),
    stops: ['usage_entries', 'budget_counters'],
  },
  'its run writes its journal': {
    caller: SERVICE,
    work: ({ open, reservation }) =>
      call(
        `ai.append_run_events($1, $2, 1, '[{"event": "x", "type": "x"}]', $3) -> 'held'`,
        open.id,
        open.lease_token,
        JSON.stringify([{ op: 'tokens_used', reservation_id: reservation, usage: { total_tokens: 7 } }]),
      ),
    stops: ['run_events'],
  },
  'its run reserves tokens': {
    caller: SERVICE,
    work: ({ open }) => call(`ai.reserve_tokens($1, $2, 2, 'm', 10, 10)`, open.id, open.lease_token),
    stops: ['budget_counters', 'token_reservations'],
  },
  'a search of it reserves tokens': {
    caller: SERVICE,
    work: ({ agent }) =>
      call(`ai.reserve_search_tokens($1, $2, $3, null, $2, 'm', 'p', 10, 10)`, HARBOR, MEMBER, agent),
    stops: ['budget_counters', 'token_reservations'],
    refusals: gone,
  },
  'its run asks for an approval': {
    caller: SERVICE,
    work: ({ open }) => call(`ai.request_approval($1, $2, 'c9', 'mail', '{}', 'Send?')`, open.id, open.lease_token),
    stops: ['approvals'],
  },
  'its run is cancelled': {
    caller: person(MEMBER),
    work: ({ lost }) => call(`ai.cancel_run($1)`, lost.run_id),
    stops: ['agent_runs', 'usage_entries'],
    refusals: gone,
  },
  'its run is taken over': {
    caller: SERVICE,
    work: ({ lost }) => call(`ai.claim_run($1, 'another', 10) ->> 'lease_token'`, lost.id),
    stops: ['agent_runs', 'usage_entries'],
  },
  'an approval is decided': {
    caller: person(MEMBER),
    work: ({ approval }) => call(`ai.decide_approval(approval_id => $1, approved => true)`, approval),
    stops: ['approvals', 'agent_runs'],
  },
  'approvals expire': {
    caller: SERVICE,
    work:
      ({ approval }) =>
      async (tx) => {
        await tx.query(`select set_config('tests.expired', $1, true)`, [approval])
        return call('ai.expire_approvals()')(tx)
      },
    stops: ['approvals'],
  },
  'its session is deleted': {
    caller: person(MEMBER),
    work: remove('ai.agent_sessions', ({ open }) => open.session_uuid),
    stops: ['agent_sessions', 'usage_entries'],
  },
  'the session of its schedule is deleted': {
    caller: person(MEMBER),
    work: remove('ai.agent_sessions', ({ waiting }) => waiting.session_uuid),
    stops: ['agent_runs', 'schedules'],
  },
  'its chat is deleted': {
    caller: person(MEMBER),
    work: remove('public.chat_sessions', ({ chat }) => chat),
    stops: ['chat_sessions', 'agent_runs'],
  },
  'its chat goes on': {
    caller: person(MEMBER),
    work:
      ({ agent, chat }) =>
      async (tx) => {
        const turn = (await call(`public.begin_chat_turn($1, $2, 'And now?')`, chat, agent)(tx)) as {
          message_id: string
        }
        return call(
          `ai.start_run($1, $2, 'And now?', request => '{"message": "x"}', chat_message_id => $3)`,
          agent,
          `chat-${chat}`,
          turn.message_id,
        )(tx)
      },
    stops: ['chat_sessions', 'agent_sessions', 'agent_runs'],
    refusals: [...gone, '23503'],
  },
  'a run of it begins': {
    caller: person(MEMBER),
    work: ({ agent }) => call(`ai.start_run($1, null, 'When?', request => '{"message": "x"}')`, agent),
    stops: ['agent_sessions', 'agent_runs'],
    refusals: gone,
  },
  'its schedule is due': {
    caller: SERVICE,
    work: ({ schedule, due }) => call(`ai.fire_due_schedule($1, $2, now() + interval '1 day')`, schedule, due),
    stops: ['agent_sessions', 'agent_runs', 'schedules'],
  },
  'the session of its schedule goes on': {
    caller: person(MEMBER),
    work: ({ agent, waiting }) =>
      call(`ai.start_run($1, $2, 'And now?', request => '{"message": "x"}')`, agent, waiting.session_id),
    stops: ['agent_sessions', 'agent_runs'],
    refusals: gone,
  },
  'a linked knowledge base is deleted': {
    caller: person(ADMIN),
    work: remove('ai.knowledge_bases', ({ base }) => base),
    stops: ['knowledge_bases', 'agent_knowledge_bases'],
  },
  'its person leaves': {
    caller: SERVICE,
    work: () => (tx) =>
      tx.query('delete from public.memberships where tenant_id = $1 and user_id = $2', [HARBOR, MEMBER]),
    stops: ['memberships'],
  },
  'its budget is removed': {
    caller: person(ADMIN),
    work: ({ budgets }) => call('ai.delete_budget($1)', budgets[0]),
    stops: ['budgets', 'budget_counters'],
    refusals: gone,
  },
  'what expired is closed': {
    caller: SERVICE,
    work: () => call('ai.close_expired_searches()'),
    stops: ['budget_counters', 'usage_entries'],
  },
}

const names = Object.keys(OTHERS)
const meetings = [
  ...DELETION.stops.flatMap((stop) => names.map((other) => ({ first: 'it', stop, second: other }))),
  ...names.flatMap((other) => OTHERS[other]!.stops.map((stop) => ({ first: other, stop, second: 'it' }))),
  { first: 'its schedule is due', stop: 'agent_runs', second: 'the session of its schedule is deleted' },
  { first: 'the session of its schedule is deleted', stop: 'agent_runs', second: 'its schedule is due' },
  ...OTHERS['the session of its schedule goes on']!.stops.flatMap((stop) => [
    { first: 'the session of its schedule goes on', stop, second: 'its schedule is due' },
    { first: 'its schedule is due', stop, second: 'the session of its schedule goes on' },
  ]),
]
const TABLES = [
  'ai.agents', 'ai.agent_sessions', 'ai.agent_runs', 'ai.approvals', 'ai.approval_decisions', 'ai.usage_entries', 'ai.tool_call_events',
  'ai.run_events', 'ai.budgets', 'ai.schedules', 'ai.agent_knowledge_bases', 'ai.knowledge_bases', 'public.chat_sessions',
  'public.chat_messages', 'public.memberships', 'private.budget_counters', 'private.token_reservations',
] // prettier-ignore

describe.skipIf(noNativeServer())('an agent is deleted', () => {
  const prepared = usePreparedDatabase(NATIVE_URL)
  let world: World

  const query = <R extends Row>(text: string, params: unknown[] = []) => prepared.db.query<R>(text, params)
  const idOf = async (text: string, params: unknown[] = []) => (await query<{ id: string }>(text, params))[0]!.id
  const as = <T>(caller: DbCaller, text: string, ...params: unknown[]) =>
    prepared.db.asCaller(caller, call(text, ...params)) as Promise<T>

  beforeAll(async () => {
    await createStandStill(query, 'stand_still_there', GATE)
    for (const table of TABLES) {
      // By its name the first: the row is locked, and nothing else has been done.
      await query(
        `create trigger "A_stand_still" before insert or update or delete on ${table} for each row execute function tests.stand_still_there()`,
      )
    }
    await query(`insert into ai.budgets (tenant_id, scope, period, max_tokens) values ($1, 'tenant', 'day', 1000000)`, [
      HARBOR,
    ])
  })
  afterAll(() => query('drop function tests.stand_still_there() cascade'))

  beforeEach(async () => {
    await query(
      `delete from private.token_reservations; delete from ai.agent_sessions; delete from public.chat_sessions;
       insert into public.memberships (tenant_id, user_id, role) values ('${HARBOR}', '${MEMBER}', 'member') on conflict do nothing`,
    )
    const [made] = await query<{ agent: string; base: string; budgets: string[] }>(
      `with agent as (insert into ai.agents (tenant_id, name) values ($1, 'Clerk') returning id),
         base as (insert into ai.knowledge_bases (tenant_id, name) values ($1, 'Rules') returning id),
         link as (
           insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id) select $1, agent.id, base.id from agent, base
         ),
         limits as (
           insert into ai.budgets (tenant_id, scope, period, max_tokens, agent_id)
           select $1, 'agent', period, 1000000, agent.id from agent, unnest(array['month', 'day']) as period
           returning id
         )
       select agent.id as agent, base.id as base, array(select limits.id::text from limits) as budgets from agent, base`,
      [HARBOR],
    )
    const { agent, base, budgets } = made!
    const start = (session: string | null, message: string | null = null) =>
      as<Run>(
        person(MEMBER),
        `ai.start_run($1, $2, 'When?', request => '{"message": "x"}', chat_message_id => $3)`,
        agent,
        session,
        message,
      )
    const reserve = async (run: Run) =>
      (await as<{ id: string }>(SERVICE, `ai.reserve_tokens($1, $2, 1, 'm', 10, 10)`, run.id, run.lease_token)).id

    const turn = await as<{ session_id: string; message_id: string }>(
      person(MEMBER),
      `public.begin_chat_turn(null, $1, 'When?')`,
      agent,
    )
    const open = await start(`chat-${turn.session_id}`, turn.message_id)
    // What has been used stands there, and more is reserved.
    await as(SERVICE, `ai.settle_tokens($1, $2, '{"total_tokens": 3}')`, await reserve(open), open.lease_token)
    await query(
      `insert into ai.tool_call_events (tenant_id, agent_run_id, agent_id, user_id, tool_name, call_id, status) values ($1, $2, $3, $4, 't', 'c0', 'success')`,
      [HARBOR, open.id, agent, MEMBER],
    )
    const reservation = await reserve(open)

    const past = await start(null)
    await as(SERVICE, `ai.finish_run($1, $2, 'completed', 'At nine.')`, past.id, past.lease_token)
    const waiting = await start(past.session_id)
    const { approval_id: approval } = await as<{ approval_id: string }>(
      SERVICE,
      `ai.request_approval($1, $2, 'c1', 'mail', '{}', 'Send?')`,
      waiting.id,
      waiting.lease_token,
    )
    await as(SERVICE, `ai.suspend_run($1, $2, 1, '[]', '[]', 'approval')`, waiting.id, waiting.lease_token)

    const lost = await start(null)
    await reserve(lost)
    await query(
      `insert into ai.run_steps (tenant_id, run_id, user_id, step, calls) values ($1, $2, $3, 1, '{"c1": {"finished": {"text": "ok", "is_error": false}}}')`,
      [HARBOR, lost.id, MEMBER],
    )
    await query(`update ai.agent_runs set lease_expires_at = now() - interval '1 s' where id = $1`, [lost.id])

    // A search nobody settles any more.
    await as(SERVICE, `ai.reserve_search_tokens($1, $2, $3, $4, $2, 'm', 'p', 10, 10)`, HARBOR, MEMBER, agent, open.id)
    await query('update private.token_reservations set expires_at = now() where expires_at is not null')

    const schedule = await idOf(
      `insert into ai.schedules (tenant_id, agent_id, created_by, name, cron, message, session_id, last_run_id, next_run_at)
       values ($1, $2, $3, 'Daily', '0 9 * * *', 'What is new?', $4, $5, now() - interval '1 minute') returning id`,
      [HARBOR, agent, MEMBER, past.session_id, past.id],
    )
    await query(`update ai.schedules set next_run_at = now() - interval '1 minute' where id = $1`, [schedule])
    const [due] = await query<{ at: string }>('select next_run_at::text as at from ai.schedules where id = $1', [
      schedule,
    ])
    world = {
      agent,
      base,
      budgets,
      chat: turn.session_id,
      open,
      reservation,
      waiting,
      approval,
      lost,
      schedule,
      due: due!.at,
    }
  })

  it.each(meetings)('$first stops at $stop, and $second: both get through', async ({ first, stop, second }) => {
    const [one, two] = [OTHERS[first] ?? DELETION, OTHERS[second] ?? DELETION]
    if ([first, second].includes('approvals expire')) {
      await query('update ai.approvals set expires_at = now() where id = $1', [world.approval])
    }
    const [actor, other] = [one, two].map(({ caller, work }) => ({ caller, work: work(world) })) as [Actor, Actor]
    const codes = await meetStandingStill(prepared.db, GATE, stop, actor, other)
    expect(['done', ...(one.refusals ?? [])]).toContain(codes[0])
    expect(['done', ...(two.refusals ?? [])]).toContain(codes[1])
    const left = await query('select id from ai.agents where id = $1', [world.agent])
    expect(left).toHaveLength([first, second].includes('it') ? 0 : 1)
  })
})
