-- Shared by the pgTAP files: scripts/run-pgtap.ts runs the files of this folder, in the order of their names, once in the
-- database that the tests then use. They hold nothing but functions in the schema `tests`.
create schema if not exists tests;
grant usage on schema tests to public;

-- The people of supabase/seed.sql. A and B stand for Harbor Logistics and Meridian Health.
create or replace function tests.person(name text)
returns uuid
language sql
immutable
as $$
  select people.id::uuid
  from (
    values
      ('owner', 'a0000000-0000-4000-8000-000000000001'),
      ('admin', 'a0000000-0000-4000-8000-000000000002'),
      ('member', 'a0000000-0000-4000-8000-000000000003'),
      ('viewer', 'a0000000-0000-4000-8000-000000000004'),
      ('b_owner', 'b0000000-0000-4000-8000-000000000001'),
      ('b_member', 'b0000000-0000-4000-8000-000000000003'),
      ('both', 'c0000000-0000-4000-8000-000000000001'),
      ('outsider', 'c0000000-0000-4000-8000-000000000002')
  ) as people (name, id)
  where people.name = person.name;
$$;

create or replace function tests.tenant(letter text)
returns uuid
language sql
immutable
as $$
  select case letter when 'a' then '11111111-1111-4111-8111-111111111111' when 'b' then '22222222-2222-4222-8222-222222222222' end::uuid;
$$;

-- Makes the rest of the transaction run as `role` with these claims and headers, as PostgREST would.
create or replace function tests.become(role text, claims jsonb, headers jsonb default '{}')
returns void
language plpgsql
as $$
begin
  perform set_config('role', 'none', true);
  perform set_config('request.jwt.claims', coalesce(claims::text, ''), true);
  perform set_config('request.headers', headers::text, true);
  perform set_config('role', become.role, true);
end;
$$;

-- `who` is a name of tests.person(), or backend_a or backend_b for the trusted backend of a tenant. `claims` are added
-- to (and win over) what the auth server puts into a token.
create or replace function tests.sign_in(who text, claims jsonb default '{}', headers jsonb default '{}')
returns void
language plpgsql
as $$
declare
  subject uuid := tests.person(who);
begin
  perform set_config('role', 'none', true);
  if who like 'backend\__' then
    select tenant_principals.id into strict subject
    from private.tenant_principals
    where tenant_principals.tenant_id = tests.tenant(right(who, 1));
  elsif subject is null then
    raise exception 'nobody is called %', who;
  end if;
  perform tests.become(
    'authenticated', jsonb_build_object('sub', subject, 'role', 'authenticated', 'aud', 'authenticated') || claims, headers
  );
end;
$$;

create or replace function tests.as_anon()
returns void
language sql
as $$ select tests.become('anon', '{"role": "anon"}'); $$;

-- The ledger: the secret key through PostgREST.
create or replace function tests.as_service()
returns void
language sql
as $$ select tests.become('service_role', '{"role": "service_role"}'); $$;

-- Back to the superuser that runs the test.
create or replace function tests.as_superuser()
returns void
language sql
as $$ select tests.become('none', null); $$;

-- Values that later statements of the same file need.
create or replace function tests.keep(name text, value text)
returns text
language sql
as $$ select set_config('tests.' || name, coalesce(value, ''), true); $$;

create or replace function tests.kept(name text)
returns text
language sql
stable
as $$ select nullif(current_setting('tests.' || name), ''); $$;

create or replace function tests.kept_id(name text)
returns uuid
language sql
stable
as $$ select tests.kept(name)::uuid; $$;

-- What a statement ends in: 'ok', or the SQLSTATE and, where `detail` has one, our code: 'PT409 duplicate_source'. Keeps
-- what the statement did; the detail is kept as `last_detail`, the message as `last_message`.
create or replace function tests.outcome(statement text)
returns text
language plpgsql
as $$
declare
  state text;
  details text;
  message text;
  code text;
begin
  execute statement;
  return 'ok';
exception when others then
  get stacked diagnostics state = returned_sqlstate, details = pg_exception_detail, message = message_text;
  perform tests.keep('last_detail', details);
  perform tests.keep('last_message', message);
  if state like 'PT%' then
    code := details::jsonb ->> 'code';
  end if;
  return concat_ws(' ', state, code);
end;
$$;

-- The same in one transaction that is undone.
create or replace function tests.outcome_undone(statement text)
returns text
language plpgsql
as $$
declare
  result text;
begin
  begin
    result := tests.outcome(statement);
    raise exception 'undo' using errcode = 'UNDO0';
  exception when sqlstate 'UNDO0' then
    null;
  end;
  return result;
end;
$$;
