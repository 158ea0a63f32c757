import type { SupabaseClient } from '@supabase/supabase-js'
import { createClientFactory } from '../../../supabase/functions/_shared/context.ts'
import type { ToolCallContext, ToolResult } from '../../../supabase/functions/_shared/tools/types.ts'
import type { TestStack } from '../../support/stack.ts'

/** Tenants of supabase/seed.sql. */
export const HARBOR = '11111111-1111-4111-8111-111111111111'
export const MERIDIAN = '22222222-2222-4222-8222-222222222222'

/** Tables like those of an application: orders of customers, rows of which belong to tenants. */
export const WORLD = `
  create table public.customers (
    id int primary key, tenant_id uuid not null, name text not null
  );
  create table public.orders (
    id int primary key, tenant_id uuid not null default private.acting_tenant_id(), customer_id int, status text, note text,
    total numeric, tags text[], data jsonb, placed_at timestamptz, secret text,
    constraint orders_customer foreign key (customer_id) references public.customers (id)
  );
  create table public.depots (tenant_id uuid not null, id int not null unique, name text, primary key (tenant_id, id));
  create table public.visits (
    id int primary key, tenant_id uuid not null, depot_id int,
    constraint visits_depot foreign key (tenant_id, depot_id) references public.depots (tenant_id, id)
  );
  insert into public.depots values ('${HARBOR}', 1, 'north'), ('${HARBOR}', 2, 'south');
  insert into public.visits values (1, '${HARBOR}', 2), (2, '${HARBOR}', 1), (3, '${HARBOR}', null);
  create table public.untouched (id int primary key, body text);
  alter table public.customers enable row level security;
  alter table public.orders enable row level security;
  alter table public.untouched enable row level security;
  create policy "members read" on public.customers for select to authenticated
    using (tenant_id = any (array(select private.caller_tenant_ids())));
  create policy "members do all" on public.orders to authenticated
    using (tenant_id = any (array(select private.caller_tenant_ids())))
    with check (tenant_id = any (array(select private.caller_tenant_ids())));
  revoke all on public.customers, public.untouched, public.orders from anon, authenticated;
  grant select on public.customers, public.untouched to authenticated;
  grant select (id, tenant_id, customer_id, status, note, total, tags, data, placed_at) on public.orders to authenticated;
  grant insert, update, delete on public.orders to authenticated;
  insert into public.customers values (1, '${HARBOR}', 'Ahab'), (2, '${HARBOR}', 'Bildad'), (3, '${MERIDIAN}', 'canary-b-customer');
  insert into public.orders (id, tenant_id, customer_id, status, note, total, tags, data, placed_at) values
    (1, '${HARBOR}', 1, 'open', 'first', 10.10, '{a,b}', '{"city": "Ulm", "n": 5, "lines": [{"sku": "x"}]}', '2026-01-01T10:00:00Z'),
    (2, '${HARBOR}', 1, 'open', 'second', 0.20, '{b,"c d"}', '{"city": "Bonn", "n": 15}', '2026-02-01T10:00:00Z'),
    (3, '${HARBOR}', 2, 'done', null, 99999999999999999999.5, '{}', null, '2026-03-01T10:00:00Z'),
    (4, '${HARBOR}', null, 'done', '50% *off*', null, null, '{"city": null}', null),
    (5, '${MERIDIAN}', 3, 'open', 'canary-b-order', 7, '{a}', '{"city": "Ulm"}', '2026-01-01T10:00:00Z');
  insert into public.untouched values (1, 'nobody reads this');
  notify pgrst, 'reload schema';
`

/** A call as a signed-in person: with their own token, as a run would make it. */
export async function contextOf(stack: TestStack, email: string, tenantId: string): Promise<ToolCallContext> {
  const client: SupabaseClient = await stack.signIn(email)
  const { data } = await client.auth.getSession()
  if (!data.session) throw new Error(`${email} is not signed in.`)
  const caller = { userId: data.session.user.id, token: data.session.access_token, tenantId }
  const db = createClientFactory(stack.url, stack.keys.publishable)(caller)
  return {
    callId: 'call_1',
    idempotencyKey: 'run_1:call_1',
    signal: new AbortController().signal,
    log: { info: () => {}, error: () => {} },
    principal: {
      tenantId,
      userId: caller.userId,
      agentId: '00000000-0000-4000-8000-000000000000',
      runId: 'run_1',
      runUuid: '00000000-0000-4000-8000-0000000000f1',
      caller: () => Promise.resolve(caller),
      actingCaller: () => Promise.resolve(caller),
      db: () => Promise.resolve(db),
      actingDb: () => Promise.resolve(db),
    },
  }
}

/** The rows of a query's answer. */
export function rowsOf(result: ToolResult): Record<string, unknown>[] {
  if (result.isError) throw new Error(result.text)
  return (JSON.parse(result.text) as { rows: Record<string, unknown>[] }).rows
}
