begin;
select plan(32);
select tests.make_world();
create temporary table answers (answer jsonb);
grant all on answers to public;
create function pg_temp.resolve(kind text default null, id text default null, header text default null, fallback text default null, who text default null)
returns text
language plpgsql
as $$
declare
  result text;
  principal text;
begin
  truncate answers;
  perform tests.as_service();
  result := tests.outcome(format('insert into answers select ai.resolve_service_tenant(%L, %L, %L, %L, %L)', kind, id, header, fallback, tests.person(who)));
  perform tests.as_superuser();
  if result <> 'ok' then
    return result;
  end if;
  select coalesce(tests.name_of((answer ->> 'sub')::uuid), (select 'backend of ' || tests.letter(tenant_id) from private.tenant_principals where tenant_principals.id = (answer ->> 'sub')::uuid))
    || ' in ' || tests.letter((answer ->> 'tenant_id')::uuid)
  into result
  from answers;
  return result;
end;
$$;

select is(pg_temp.resolve('agent', tests.id('agent a')::text), 'backend of a in a', 'the tenant of the agent');
select is(pg_temp.resolve('agent', upper(tests.id('agent b')::text)), 'backend of b in b', 'whatever the case of its id');
select is(pg_temp.resolve('source', tests.id('source b_open')::text), 'backend of b in b', 'of a source');
select is(pg_temp.resolve('knowledge_base', tests.id('base a')::text), 'backend of a in a', 'of a knowledge base');
select is(pg_temp.resolve('indexed_source', tests.id('indexed b_open')::text), 'backend of b in b', 'of an indexed source');
select is(pg_temp.resolve('tool', tests.id('tool b')::text), 'backend of b in b', 'of a tool');
select is(pg_temp.resolve('context_handler', tests.id('handler a_member')::text), 'backend of a in a', 'of a retrieval');
select is(pg_temp.resolve('tool', tests.id('handler a_member')::text), 'PT404 not_found', 'each kind for itself');
select is(pg_temp.resolve('session', 'b_member'), 'backend of b in b', 'of a session');
select is(pg_temp.resolve('run', (select run_id from ai.agent_runs where id = tests.id('run a_member'))), 'backend of a in a', 'of a run');
select is(pg_temp.resolve('agent', tests.id('agent a')::text, tests.tenant('a')::text), 'backend of a in a', 'the header may say the same');
select is(pg_temp.resolve('agent', tests.id('agent a')::text, fallback => tests.tenant('b')::text), 'backend of a in a', 'the default does not override the resource');

select is(pg_temp.resolve('agent', tests.id('agent a')::text, tests.tenant('b')::text), 'PT404 not_found', 'of another tenant than the one named');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.resolve('agent', gen_random_uuid()::text, tests.tenant('b')::text), 'PT404 not_found', 'and absent');
select is(tests.kept('last_message'), tests.kept('answer'), 'look alike');
select is(pg_temp.resolve('agent', 'not an id'), 'PT404 not_found', 'an id that is none');
select is(pg_temp.resolve('agent', null), 'PT404 not_found', 'no id');
select is(pg_temp.resolve('membership', 'x'), 'PT404 not_found', 'a kind we do not have');
select is(pg_temp.resolve('agent', tests.id('agent a')::text, 'x'' or true --'), 'PT404 not_found', 'a header that is no id');

-- Session ids are unique per tenant only.
insert into ai.agent_sessions (tenant_id, session_id) values (tests.tenant('a'), 'twin'), (tests.tenant('b'), 'twin');
select is(pg_temp.resolve('session', 'twin'), 'PT400 tenant_required', 'an id that two tenants use is not guessed');
select is(pg_temp.resolve('session', 'twin', fallback => ''), 'PT400 tenant_required', 'an empty default decides nothing');
select is(pg_temp.resolve('session', 'twin', tests.tenant('b')::text), 'backend of b in b', 'the header decides');
select is(pg_temp.resolve('session', 'twin', fallback => tests.tenant('a')::text), 'backend of a in a', 'or the default');

-- No resource.
select is(pg_temp.resolve(), 'PT400 tenant_required', 'several tenants and nothing said');
select is(pg_temp.resolve(header => tests.tenant('b')::text), 'backend of b in b', 'the header');
select is(pg_temp.resolve(fallback => tests.tenant('a')::text), 'backend of a in a', 'the default');
select is(pg_temp.resolve(header => tests.tenant('b')::text, fallback => tests.tenant('a')::text), 'backend of b in b', 'the header before the default');
select is(pg_temp.resolve(header => gen_random_uuid()::text, fallback => tests.tenant('a')::text), 'PT400 tenant_required', 'a wrong header does not fall back');

-- Acting as a person.
select is(pg_temp.resolve('agent', tests.id('agent a')::text, who => 'member'), 'member in a', 'a member of the tenant');
select is(pg_temp.resolve('agent', tests.id('agent a')::text, who => 'b_member'), 'PT403 forbidden', 'nobody else');
delete from public.tenants where id = tests.tenant('b');
select is(pg_temp.resolve(), 'backend of a in a', 'with one tenant there is nothing to say');

select tests.sign_in('owner');
select is(tests.outcome('select ai.resolve_service_tenant()'), '42501', 'people do not ask');

select * from finish();
rollback;
