-- Whoever searches is told to the ledger as the subject of their token, which may be a tenant's backend.
begin;
select plan(7);
select tests.make_world();
delete from ai.usage_entries;
delete from private.token_reservations;
select tests.keep('backend', (select id from private.tenant_principals where tenant_id = tests.tenant('a'))::text);
select tests.as_service();

select is(private.person_of(tests.person('member')), tests.person('member'), 'a person is one');
select is(private.person_of(tests.kept_id('backend')), null, 'a backend is none');
select is(private.person_of(null), null, 'nor is nobody');
select is(
  tests.outcome($$select ai.record_usage(tests.tenant('a'), tests.kept_id('backend'), null, null, 'embedding', 'm', null, 5, false)$$),
  'ok', 'what a backend embeds is usage'
);
select tests.keep('held', ai.reserve_search_tokens(tests.tenant('a'), tests.kept_id('backend'), null, null, tests.id('token'), 'm', 'p', 3, 4) ->> 'id') is not null;
select ok(ai.settle_tokens(tests.kept_id('held'), tests.id('token'), '{"total_tokens": 6}'), 'and what it asks a model');
select results_eq(
  $$select kind, user_id, total_tokens from ai.usage_entries order by kind$$,
  $$values ('embedding', null::uuid, 5::bigint), ('search', null, 6)$$,
  'of the tenant, and of nobody in it'
);
select is(
  tests.outcome($$select ai.record_usage(tests.tenant('a'), tests.person('b_member'), null, null, 'embedding', 'm', null, 5, false)$$),
  'PT403 forbidden', 'a person elsewhere is refused as ever'
);

select * from finish();
rollback;
