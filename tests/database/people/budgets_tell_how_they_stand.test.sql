-- ai.budget_state(): admins see the budgets of their tenant, others their own; the counts are those that hold runs back.
begin;
select plan(16);
select tests.as_superuser();
insert into ai.usage_entries (tenant_id, user_id, agent_id, kind, total_tokens, created_at)
select entries.tenant, entries.person, (select id from ai.agents where tenant_id = entries.tenant and is_default), entries.kind, entries.tokens, entries.at
from (
  values
    (tests.tenant('a'), tests.person('member'), 'chat', 40, now()),
    (tests.tenant('a'), tests.person('viewer'), 'chat', 2, now()),
    (tests.tenant('a'), tests.person('member'), 'embedding', 1000, now()),
    (tests.tenant('a'), tests.person('member'), 'chat', 7, now() - interval '60 days'),
    (tests.tenant('b'), tests.person('b_member'), 'chat', 200, now())
) as entries (tenant, person, kind, tokens, at);
select tests.sign_in('b_owner');
select ai.set_budget('tenant', 'day', 100);
select tests.sign_in('admin');
select ai.set_budget('tenant', 'month', 100), ai.set_budget('tenant', 'total', 60), ai.set_budget('user', 'month', 50), ai.set_budget('user', 'month', 10, tests.person('viewer')),
  ai.set_budget('run', 'total', 5), ai.set_budget('agent', 'month', 70);

create function pg_temp.state() returns table (letter text, scope text, period text, who text, most bigint, used bigint, remaining bigint) language sql as $$
  select tests.letter(tenant_id), scope, period, coalesce(tests.name_of(user_id), case when agent_id is not null then 'agent' end), max_tokens, used_tokens, remaining_tokens
  from ai.budget_state();
$$;
select set_eq(
  'select * from pg_temp.state()',
  $$
    values
      ('a', 'tenant', 'month', null, 100::bigint, 42::bigint, 58::bigint), ('a', 'tenant', 'total', null, 60, 49, 11),
      ('a', 'user', 'month', null, 50, null, null), ('a', 'user', 'month', 'member', 50, 40, 10), ('a', 'user', 'month', 'viewer', 10, 2, 8),
      ('a', 'run', 'total', null, 5, null, null), ('a', 'agent', 'month', null, 70, null, null), ('a', 'agent', 'month', 'agent', 70, 42, 28)
  $$,
  'an admin sees all of the tenant; embeddings count for nothing'
);
select is((select renews_at from ai.budget_state() where scope = 'tenant' and period = 'month'), date_trunc('month', now(), 'UTC') + interval '1 month', 'when it renews');
select is((select renews_at from ai.budget_state() where scope = 'tenant' and period = 'total'), null, 'or never');
select is((select count(*)::int from ai.budget_state() where period_start > now()), 0, 'since when');

select tests.sign_in('member');
select set_eq('select * from pg_temp.state()', $$values ('a', 'user', 'month', 'member', 50::bigint, 40::bigint, 10::bigint)$$, 'a member sees the limit on themselves');
select tests.sign_in('viewer');
select set_eq('select * from pg_temp.state()', $$values ('a', 'user', 'month', 'viewer', 10::bigint, 2::bigint, 8::bigint)$$, 'the one of their own, if there is one');
select tests.sign_in('both');
select set_eq('select * from pg_temp.state()', $$values ('a', 'user', 'month', 'both', 50::bigint, 0::bigint, 50::bigint)$$, 'also who has used nothing');
select tests.sign_in('b_owner');
select set_eq('select * from pg_temp.state()', $$values ('b', 'tenant', 'day', null, 100::bigint, 200::bigint, 0::bigint)$$, 'elsewhere others hold; what is left is never less than nothing');
select tests.sign_in('outsider');
select is_empty('select * from ai.budget_state()', 'who is in no tenant sees none');
select tests.sign_in('admin', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is_empty('select * from ai.budget_state()', 'a header narrows');
select tests.sign_in('backend_a');
select is((select count(*)::int from ai.budget_state()), 8, 'the backend sees what an admin sees');

-- Counters win over entries, and hold reserved tokens.
select tests.as_superuser();
insert into private.budget_counters (tenant_id, budget_id, subject_id, period_start, used_tokens, reserved_tokens)
select tenant_id, id, tests.person('owner'), private.budget_period_start('month', now()), 30, 15
from ai.budgets where tenant_id = tests.tenant('a') and scope = 'user' and user_id is null;
select tests.sign_in('admin');
select results_eq(
  $$select used_tokens, reserved_tokens, remaining_tokens from ai.budget_state() where user_id = tests.person('owner')$$, $$values (30::bigint, 15::bigint, 5::bigint)$$,
  'what is held back for calls under way is not left either'
);
select tests.as_superuser();
insert into ai.usage_entries (tenant_id, user_id, kind, total_tokens) values (tests.tenant('a'), tests.person('both'), 'indexing', 4);
select tests.sign_in('admin');
select is((select used_tokens from ai.budget_state() where user_id = tests.person('both')), 4::bigint, 'whoever has used something is listed, whatever it was for');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member');
select tests.sign_in('member');
select is_empty('select * from ai.budget_state()', 'who was removed sees none');
select tests.sign_in('admin');
select is((select used_tokens from ai.budget_state() where user_id = tests.person('member')), 40::bigint, 'what they used is still there');
select tests.as_anon();
select is(tests.outcome('select * from ai.budget_state()'), '42501', 'who is not signed in may not ask');

select * from finish();
rollback;
