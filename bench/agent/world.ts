import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { copyFromTemplate } from '../../local/database/snapshot.ts'
import type { Lifetime } from '../../local/lifetime.ts'
import type { Caller } from '../../supabase/functions/_shared/context.ts'
import { depsFromEnv } from '../../supabase/functions/_shared/deps.ts'
import { OFFLINE_EMBEDDING_MODEL } from '../../supabase/functions/_shared/providers/offline-embedder.ts'
import { startScriptedModel, type ScriptedModel } from '../../tests/support/scripted-model/index.ts'
import { spawnStack, untilReady } from '../../tests/support/stack-process.ts'
import { signIn, type Target } from '../support/target.ts'

const EMAIL = 'admin@harbor.example'
/** Tenant of that person in supabase/seed.sql. */
const TENANT = '11111111-1111-4111-8111-111111111111'
const STOP_LIMIT_MS = 15_000

export type World = Target & {
  pid: number
  /** Address of the database, as its superuser. */
  dbUrl: string
  /** An agent with the tool database_query. */
  agentId: string
  caller: Caller
  /** What a function is built from, in this process. */
  deps: ReturnType<typeof depsFromEnv>
}

/** Tables like those of an application: what is asked of them is read by the person's rights. */
const TABLES = `
  create table public.bench_customers (
    id int primary key, tenant_id uuid not null, name text not null
  );
  create table public.bench_orders (
    id int primary key, tenant_id uuid not null, customer_id int not null, status text not null, total numeric not null,
    placed_at timestamptz not null,
    constraint bench_orders_customer foreign key (customer_id) references public.bench_customers (id)
  );
  create index on public.bench_orders (tenant_id, placed_at);
  alter table public.bench_customers enable row level security;
  alter table public.bench_orders enable row level security;
  create policy "members read" on public.bench_customers for select to authenticated
    using (tenant_id = any (array(select private.caller_tenant_ids())));
  create policy "members read" on public.bench_orders for select to authenticated
    using (tenant_id = any (array(select private.caller_tenant_ids())));
  grant select on public.bench_customers, public.bench_orders to authenticated;
  insert into public.bench_customers select n, tenant.id, 'Customer ' || n
    from generate_series(1, 200) as n join public.tenants as tenant on (tenant.id = '${TENANT}') = (n % 2 = 0);
  insert into public.bench_orders
    select n, customer.tenant_id, customer.id, case n % 3 when 0 then 'open' else 'done' end, n * 0.25,
      timestamptz '2026-01-01' + n * interval '1 minute'
    from generate_series(1, 4000) as n join public.bench_customers as customer on customer.id = 1 + n % 200;
  analyze public.bench_customers;
  analyze public.bench_orders;
  notify pgrst, 'reload schema';
`
export const TABLE_NAMES = ['bench_customers', 'bench_orders']

/** A model on this machine that says what it is told. */
export async function startModel(lifetime: Lifetime): Promise<ScriptedModel> {
  const model = await startScriptedModel()
  await lifetime.onEnd(() => model.stop())
  return model
}

/**
 * A stack of its own that answers by the model, in processes of its own, with an agent and tables to ask.
 * @param serverUrl of a superuser of a native server, on which it makes a database; undefined: PGlite
 */
export async function startWorld(
  model: ScriptedModel,
  serverUrl: string | undefined,
  lifetime: Lifetime,
): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'bulkhead-bench-'))
  await lifetime.onEnd(() => rmSync(folder, { recursive: true, force: true }))
  const copying = serverUrl ? copyFromTemplate('supabase', serverUrl) : null
  // Registered before it is there: one that is being made when the run is stopped would be left.
  await lifetime.onEnd(async () => (await copying?.catch(() => null))?.drop())
  const copy = await copying
  if (lifetime.ending) throw new Error('Stopped.')
  const stack = spawnStack({
    BULKHEAD_DATA_DIR: folder,
    // What npm has started ends with its parent, also with one that could not stop it.
    npm_command: 'run-script',
    ...model.env,
    // Questions are embedded here: nothing of this is to wait for the model's server.
    EMBEDDING_MODEL: OFFLINE_EMBEDDING_MODEL,
    ...(copy ? { DATABASE_URL: copy.url } : {}),
    // To compare with.
    ...(process.env.WORKER_RUN_ADAPTIVE ? { WORKER_RUN_ADAPTIVE: process.env.WORKER_RUN_ADAPTIVE } : {}),
  })
  await lifetime.onEnd(async () => {
    stack.child.kill('SIGTERM')
    const limit = setTimeout(() => stack.child.kill('SIGKILL'), STOP_LIMIT_MS)
    await stack.exited
    clearTimeout(limit)
  })
  await untilReady(stack)
  const target = {
    url: stack.printed('API URL'),
    publishableKey: stack.printed('Publishable key'),
    secretKey: stack.printed('Secret key'),
  }
  const dbUrl = stack.printed('DB URL')
  await makeTables(copy?.url ?? dbUrl)
  const person = await signIn(target, EMAIL)
  const { session } = (await person.auth.getSession()).data
  if (!session) throw new Error('The person is not signed in.')
  const caller = { userId: session.user.id, token: session.access_token, tenantId: TENANT }
  return {
    ...target,
    pid: stack.pid,
    dbUrl: copy?.url ?? dbUrl,
    agentId: await makeAgent(target, caller),
    caller,
    deps: depsFromEnv(
      {
        SUPABASE_URL: target.url,
        SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: target.publishableKey }),
        SUPABASE_SECRET_KEYS: JSON.stringify({ default: target.secretKey }),
        BULKHEAD_SIGNING_JWK: readFileSync(join(folder, 'signing-key.json'), 'utf8'),
      },
      'bench',
    ),
  }
}

async function makeTables(dbUrl: string): Promise<void> {
  const sql = postgres(dbUrl, { max: 1, onnotice: () => {} })
  try {
    await sql.unsafe(TABLES)
  } finally {
    await sql.end()
  }
}

async function makeAgent(target: Target, caller: Caller): Promise<string> {
  const agent = await send(target, caller, '', { name: 'Bench', system_prompt: 'Answer in sentences.' })
  await send(target, caller, `/${agent['id']}/tools`, {
    tool_name: 'database_query',
    config_override: { schemas: { public: TABLE_NAMES } },
  })
  return String(agent['id'])
}

async function send(target: Target, caller: Caller, path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${target.url}/functions/v1/api/agents${path}`, {
    method: 'POST',
    headers: headersOf(target, caller),
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`POST /api/agents${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Record<string, unknown>
}

/** Headers of a request of the person to a function. */
export const headersOf = (target: Target, caller: Caller): Record<string, string> => ({
  authorization: `Bearer ${caller.token}`,
  apikey: target.publishableKey,
  'content-type': 'application/json',
})
