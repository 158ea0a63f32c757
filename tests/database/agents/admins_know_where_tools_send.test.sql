-- Where a tool sends what it is given is for those who may change the tool: nobody selects the column, admins read it by a function.
begin;
select plan(30);
select tests.make_world();

create function pg_temp.configs(tool_ids uuid[] default null)
returns text
language sql
as $$
  select coalesce(string_agg(configs.config ->> 'endpoint' || case configs.tool_id when tests.id('tool a') then ' of a' when tests.id('tool b') then ' of b' end, ', ' order by configs.tool_id = tests.id('tool b')), 'none')
  from ai.tool_configs(tool_ids) as configs;
$$;

-- No client role, whatever its rank, and by no way.
select tests.sign_in('owner');
select is(tests.outcome('select id, name, description, type, input_schema, header_names from ai.tools'), 'ok', 'an owner reads what a tool is');
select is(tests.outcome('select config from ai.tools'), '42501', 'not where it sends');
select is(tests.outcome('select * from ai.tools'), '42501', 'not with everything else either');
select is(tests.outcome('select to_jsonb(tools) from ai.tools'), '42501', 'nor as a row');
select is(tests.outcome($$select id from ai.tools where config ->> 'endpoint' like 'https%'$$), '42501', 'nor guesses at it');
select is(tests.outcome('select id from ai.tools order by config'), '42501', 'nor sorts by it');
select is(tests.outcome('update ai.tools set description = config::text'), '42501', 'nor moves it where it could be read');
select is(tests.outcome($$update ai.tools set description = 'x' returning config$$), '42501', 'nor has it returned');
select tests.sign_in('member');
select is(tests.outcome('select id from ai.tools'), 'ok', 'a member reads tools');
select is(tests.outcome('select config from ai.tools'), '42501', 'not their config');
select tests.sign_in('backend_a');
select is(tests.outcome('select id from ai.tools'), 'ok', 'so does the backend');
select is(tests.outcome('select config from ai.tools'), '42501', 'and not their config');

-- Who may change a tool reads it by the function; others get no row.
select tests.sign_in('owner');
select is(pg_temp.configs(), 'https://tools.example/x of a', 'an owner is told');
select tests.sign_in('admin');
select is(pg_temp.configs(array[tests.id('tool a'), tests.id('tool b')]), 'https://tools.example/x of a', 'an admin, of what is theirs');
select is(pg_temp.configs(array[tests.id('tool b')]), 'none', 'of another tenant nothing');
select is(pg_temp.configs('{}'), 'none', 'of no tool nothing');
select is(tests.outcome('select private.tool_configs(null)'), 'ok', 'the core');
select is((select count(*) from private.tool_configs(null)), 1::bigint, 'gives no more');
select tests.sign_in('backend_a');
select is(pg_temp.configs(), 'https://tools.example/x of a', 'the backend is told');
select tests.sign_in('b_owner');
select is(pg_temp.configs(), 'https://tools.example/x of b', 'the other tenant of its own');
select tests.sign_in('owner', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is(pg_temp.configs(), 'none', 'a header widens nothing');
select tests.sign_in(who), is(pg_temp.configs(), 'none', who || ' is not told') from unnest(array['member', 'viewer', 'outsider']) as who;
select tests.as_anon();
select is(tests.outcome('select ai.tool_configs()'), '42501', 'nor who is not signed in');
select tests.as_service();
select is(tests.outcome('select ai.tool_configs()'), '42501', 'runs read it by the ledger and not this way');

-- At the next statement.
select tests.as_superuser();
update public.memberships set role = 'member' where tenant_id = tests.tenant('a') and user_id = tests.person('admin');
select tests.sign_in('admin');
select is(pg_temp.configs(), 'none', 'who is no admin any more');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('admin');
select tests.sign_in('admin');
select is(pg_temp.configs(), 'none', 'who has left');

-- Writing needs no reading.
select tests.sign_in('owner');
select is(tests.outcome($$update ai.tools set config = '{"endpoint": "https://tools.example/z"}' where name = 'a_tool' returning id$$), 'ok', 'an owner points it elsewhere');
select is(pg_temp.configs(), 'https://tools.example/z of a', 'and reads it there');

select * from finish();
rollback;
