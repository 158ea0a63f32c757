begin;
select plan(15);

select tests.sign_in('outsider');
select is(tests.outcome($$select tests.keep('id', (public.create_tenant('  Cedar Foods  ')).id::text)$$), 'ok', 'anybody who is signed in may found a tenant');
select is((select name from public.tenants where id = tests.kept_id('id')), 'Cedar Foods', 'its name is trimmed');
select set_eq(
  $$select user_id, role from public.memberships where tenant_id = tests.kept_id('id')$$,
  $$values (tests.person('outsider'), 'owner')$$,
  'the caller is its owner and only member'
);
select set_eq('select id from public.tenants', array[tests.kept_id('id')], 'and sees no other tenant for it');
select set_eq(
  $$select name, is_default, created_by is null from ai.knowledge_bases$$, $$values ('Documents', true, true)$$, 'it has a default knowledge base'
);
select set_eq($$select name, is_default from ai.agents$$, $$values ('Assistant', true)$$, 'a default agent');
select set_eq(
  'select agent_id, knowledge_base_id from ai.agent_knowledge_bases',
  'select agents.id as agent_id, knowledge_bases.id from ai.agents cross join ai.knowledge_bases',
  'linked to each other'
);
select is_empty($$delete from ai.knowledge_bases where is_default returning id$$, 'the default knowledge base stays');
select is_empty($$delete from ai.agents where is_default returning id$$, 'so does the default agent');

select is(tests.outcome($$select public.create_tenant('   ')$$), 'PT400 invalid_request', 'a blank name is refused');
select is(tests.outcome($$select public.create_tenant(repeat('x', 201))$$), 'PT400 invalid_request', 'a long one too');
select is(tests.outcome($$select public.create_tenant(null)$$), 'PT400 invalid_request', 'and none');

select tests.sign_in('backend_a');
select is(tests.outcome($$select public.create_tenant('x')$$), 'PT403 forbidden', 'a backend founds no tenants');
select tests.as_anon();
select is(tests.outcome($$select public.create_tenant('x')$$), '42501', 'nor does anon');
select tests.as_superuser();
select is(
  (select count(*)::int from private.tenant_principals where tenant_id = tests.kept_id('id')), 1, 'it has a principal for its backend'
);

select * from finish();
rollback;
