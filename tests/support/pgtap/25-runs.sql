-- Runs and their executors. `name` tells several runs of one test apart.
create or replace function tests.start_run(
  who text,
  session text default null,
  strategy text default 'queue',
  name text default 'run',
  agent text default 'a',
  request jsonb default '{"message": "hello"}'
)
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  return tests.outcome(format(
    'select tests.keep(%L, ai.start_run(%L, %L, %L, request => %L, multitask_strategy => %L)::text)', name, tests.id('agent ' || agent), session, 'hello', request,
    strategy
  ));
end;
$$;

-- What ai.start_run or ai.claim_run answered: a field of it, the id, and the lease.
create or replace function tests.run(key text, name text default 'run')
returns text
language sql
stable
as $$ select tests.kept(name)::jsonb ->> key; $$;

create or replace function tests.run_id(name text default 'run')
returns uuid
language sql
stable
as $$ select tests.run('id', name)::uuid; $$;

create or replace function tests.lease(name text default 'run')
returns uuid
language sql
stable
as $$ select tests.run('lease_token', name)::uuid; $$;

-- The rest is done with the secret key, as executors do.
create or replace function tests.claim(name text default 'run', executor text default 'worker')
returns boolean
language plpgsql
as $$
declare
  claimed jsonb;
begin
  perform tests.as_service();
  claimed := ai.claim_run(tests.run_id(name), executor, 10);
  if claimed is null then
    return false;
  end if;
  perform tests.keep(name, claimed::text);
  return true;
end;
$$;

create or replace function tests.event(type text, more jsonb default '{}')
returns jsonb
language sql
immutable
as $$ select jsonb_build_object('event', type, 'type', type) || more; $$;

create or replace function tests.delta(text text, off int, more jsonb default '{}')
returns jsonb
language sql
immutable
as $$ select tests.event('content_delta', jsonb_build_object('delta', text, 'off', off) || more); $$;

create or replace function tests.append(first_seq int, events jsonb default '[]', journal jsonb default '[]', name text default 'run', lease uuid default null)
returns jsonb
language plpgsql
as $$
begin
  perform tests.as_service();
  return ai.append_run_events(tests.run_id(name), coalesce(lease, tests.lease(name)), first_seq, events, journal);
end;
$$;

-- The lease of a run runs out, as if its executor had been killed.
create or replace function tests.let_lease_expire(name text default 'run')
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  update ai.agent_runs set lease_expires_at = now() - interval '1 second' where id = tests.run_id(name);
end;
$$;

-- Status of a run with its reason, as it is stored.
create or replace function tests.status(name text default 'run')
returns text
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select concat_ws(' ', status, wait_reason, error_code) from ai.agent_runs where id = tests.run_id(name));
end;
$$;

-- The log of a run: numbers and types, 1 start, 2 complete.
create or replace function tests.log(name text default 'run')
returns text
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select string_agg(seq || ' ' || type, ', ' order by seq) from ai.run_events where run_id = tests.run_id(name));
end;
$$;

-- Jobs that would wake an executor for a run.
create or replace function tests.run_jobs(name text default 'run')
returns int
language plpgsql
as $$
begin
  perform tests.as_superuser();
  return (select count(*) from pgboss.job where job.name = 'run_agent' and state = 'created' and data = jsonb_build_object('id', tests.run_id(run_jobs.name)));
end;
$$;

create or replace function tests.forget_run_jobs()
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  delete from pgboss.job where job.name = 'run_agent';
end;
$$;
