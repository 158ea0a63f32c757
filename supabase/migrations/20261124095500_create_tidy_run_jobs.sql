create function private.tidy_run_jobs()
returns int
language plpgsql
security definer -- the queue is writable by nobody
set search_path = ''
as $$
declare
  tidied int;
begin
  delete from pgboss.job
  where job.name in ('run_agent', 'run_agent_dead') and job.state in ('created', 'retry')
    and not exists (
      select from ai.agent_runs
      where agent_runs.id::text = job.data ->> 'id' and agent_runs.status in ('pending', 'running')
    );
  get diagnostics tidied = row_count;
  return tidied;
end;
$$;

comment on function private.tidy_run_jobs() is 'Core of ai.tidy_run_jobs().';

create function ai.tidy_run_jobs()
returns int
language sql
set search_path = ''
as $$
  select private.tidy_run_jobs();
$$;

comment on function ai.tidy_run_jobs() is
  'Ledger: removes jobs that would only wake somebody for a run that is over or waits for a person. Returns how many. For executors that do not take jobs: the function `worker`.';

revoke execute on function private.tidy_run_jobs() from public, anon, authenticated, service_role;
revoke execute on function ai.tidy_run_jobs() from public, anon, authenticated, service_role;
grant execute on function private.tidy_run_jobs() to service_role;
grant execute on function ai.tidy_run_jobs() to service_role;
