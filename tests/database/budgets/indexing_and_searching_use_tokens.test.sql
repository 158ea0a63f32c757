-- Models asked while a source is indexed or searched for: whose budget it is, who may reserve, and what is left of a call nobody settles.
begin;
select plan(37);
select tests.make_world();
delete from ai.usage_entries;
delete from private.token_reservations;
insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
values (tests.id('budget of each'), tests.tenant('a'), 'user', 'day', 1000);
update ai.sources set owner_id = tests.person('member') where id = tests.id('source a_open');
update ai.indexed_sources
set index_status = 'indexing', lease_token = tests.id('lease'), lease_expires_at = now() + interval '1 minute'
where id = tests.id('indexed a_open');
select tests.as_service();

-- used and reserved of a person
create function pg_temp.counter(who text) returns text language sql security definer as $$
  select format('%s used, %s reserved', used_tokens, reserved_tokens)
  from private.budget_counters
  where budget_counters.budget_id = tests.id('budget of each') and budget_counters.subject_id = tests.person(who);
$$;
create function pg_temp.entries() returns setof text language sql security definer as $$
  select concat_ws(' ', kind, coalesce(model, '-'), total_tokens, case when is_estimate then 'estimated' end, coalesce(people.name, 'backend'))
  from ai.usage_entries
  left join (values ('member', tests.person('member')), ('viewer', tests.person('viewer'))) as people (name, id) on people.id = usage_entries.user_id
  order by 1;
$$;
create function pg_temp.index_call(prompt int, answer int, lease text default 'lease') returns jsonb language sql as $$
  select ai.reserve_indexing_tokens(tests.id('indexed a_open'), tests.id(lease), 'm', 'p', prompt, answer);
$$;
create function pg_temp.search_call(prompt int, answer int, who text default 'viewer', letter text default 'a', agent uuid default null, run uuid default null)
returns jsonb language sql as $$
  select ai.reserve_search_tokens(tests.tenant(letter), tests.person(who), agent, run, tests.id('token'), 'm', 'p', prompt, answer);
$$;

-- Indexing
select tests.keep('call', pg_temp.index_call(100, 50) ->> 'id') is not null;
select is(pg_temp.counter('member'), '0 used, 150 reserved', 'indexing reserves in the budget of the source''s owner');
select is(pg_temp.index_call(1, 1, 'another lease'), null, 'whoever has lost the lease reserves nothing');
select is(tests.outcome($$select pg_temp.index_call(900, 50)$$), 'PT402 budget_exceeded', 'more than is left is refused');
select is(tests.outcome($$select pg_temp.index_call(1, 0)$$), '22023', 'an answer without tokens is none');
select is(ai.settle_tokens(tests.kept_id('call'), tests.id('another lease'), '{"total_tokens": 1}'), false, 'nor does it settle');
select is(ai.settle_tokens(tests.kept_id('call'), tests.id('lease'), '{"prompt_tokens": 90, "completion_tokens": 10}'), true, 'its holder settles');
select is(pg_temp.counter('member'), '100 used, 0 reserved', 'with what was used');
select set_eq('select pg_temp.entries()', array['indexing m 100 member'], 'and usage says so');

select pg_temp.index_call(200, 50) is not null;
select tests.as_superuser();
update ai.indexed_sources set lease_token = tests.id('next lease') where id = tests.id('indexed a_open');
select tests.as_service();
select is(pg_temp.counter('member'), '300 used, 0 reserved', 'a lost lease counts the prompt nobody heard of');
select pg_temp.index_call(30, 50, 'next lease') is not null;
select tests.as_superuser();
delete from ai.indexed_sources where id = tests.id('indexed a_open');
select is(pg_temp.counter('member'), '300 used, 80 reserved', 'taking the source out touches no counter: many may go at once');
update private.token_reservations set expires_at = now() - interval '1 second' where purpose = 'indexing';
select tests.as_service();
select is(ai.close_expired_searches(), 1, 'the sweep does');
select is(pg_temp.counter('member'), '330 used, 0 reserved', 'and counts its prompt too');
select set_eq(
  'select pg_temp.entries()', array['indexing m 100 member', 'indexing m 200 estimated member', 'indexing m 30 estimated member'], 'all of it is usage'
);

-- Searching
select tests.keep('search', pg_temp.search_call(100, 50) ->> 'id') is not null;
select is(pg_temp.counter('viewer'), '0 used, 150 reserved', 'a search reserves in the budget of whoever searches');
select is(tests.outcome($$select pg_temp.search_call(900, 50)$$), 'PT402 budget_exceeded', 'more than is left is refused');
select is(tests.outcome($$select pg_temp.search_call(1, 1, 'b_member')$$), 'PT403 forbidden', 'somebody of another tenant uses nothing here');
select is(tests.outcome($$select pg_temp.search_call(1, 1, 'member', 'b')$$), 'PT403 forbidden', 'nor does a member elsewhere');
select is(
  tests.outcome(format('select pg_temp.search_call(1, 1, agent => %L)', (select id from ai.agents where tenant_id = tests.tenant('b') limit 1))),
  'PT403 forbidden', 'nor in the name of another tenant''s agent'
);
select is(tests.outcome($$select pg_temp.search_call(1, 1, run => gen_random_uuid())$$), 'PT403 forbidden', 'nor of a run that is not here');
select is(ai.settle_tokens(tests.kept_id('search'), tests.id('lease'), '{"total_tokens": 1}'), false, 'who does not have the token settles nothing');
select is(ai.settle_tokens(tests.kept_id('search'), tests.id('token'), '{"total_tokens": 70}'), true, 'who has it does');
select is(pg_temp.counter('viewer'), '70 used, 0 reserved', 'with what was used');
select pg_temp.search_call(10, 5) is not null;
select is(ai.close_expired_searches(), 0, 'a search may take its time');
select tests.as_superuser();
update private.token_reservations set expires_at = now() - interval '1 second' where purpose = 'search';
select tests.as_service();
select is(ai.close_expired_searches(), 1, 'but not for ever');
select is(pg_temp.counter('viewer'), '80 used, 0 reserved', 'then its prompt counts');

-- What no budget counts
select is(
  tests.outcome($$select ai.record_usage(tests.tenant('a'), tests.person('viewer'), null, null, 'embedding', 'e', null, 7, false)$$), 'ok', 'a vector is recorded'
);
select is(tests.outcome($$select ai.record_usage(tests.tenant('a'), null, null, null, 'rerank', 'r', 'p', 9, true)$$), 'ok', 'rescoring too, the backend''s');
select is(tests.outcome($$select ai.record_usage(tests.tenant('a'), null, null, null, 'chat', 'r', 'p', 9, true)$$), '22023', 'a chat is reserved, not recorded');
select is(tests.outcome($$select ai.record_usage(tests.tenant('a'), null, null, null, 'rerank', 'r', 'p', -1, true)$$), '22023', 'nothing is given back');
select is(tests.outcome($$select ai.record_usage(tests.tenant('b'), tests.person('viewer'), null, null, 'rerank', 'r', 'p', 9, true)$$), 'PT403 forbidden', 'nor charged to others');
select is(pg_temp.counter('viewer'), '80 used, 0 reserved', 'and budgets do not count it');
select is(
  private.tokens_used(tests.tenant('a'), 'user', tests.person('viewer'), now() - interval '1 day'), 80::bigint, 'nor does one that begins now'
);
select set_eq(
  'select pg_temp.entries()',
  array[
    'indexing m 100 member', 'indexing m 200 estimated member', 'indexing m 30 estimated member', 'search m 70 viewer',
    'search m 10 estimated viewer', 'embedding e 7 viewer', 'rerank r 9 estimated backend'
  ],
  'all calls are there, each once'
);

-- Who reads it
select tests.sign_in('viewer');
select set_eq('select kind from ai.usage_entries', array['search', 'embedding'], 'people read what was used for them');
select tests.sign_in('b_owner');
select is_empty('select from ai.usage_entries', 'another tenant nothing of it');
select is(tests.outcome($$select ai.reserve_search_tokens(tests.tenant('b'), tests.person('b_owner'), null, null, gen_random_uuid(), 'm', 'p', 1, 1)$$), '42501', 'and nobody but the ledger reserves');
select is(tests.outcome($$select ai.record_usage(tests.tenant('b'), null, null, null, 'rerank', 'r', 'p', 9, true)$$), '42501', 'or records');

select * from finish();
rollback;
