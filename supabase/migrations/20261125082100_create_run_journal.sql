create function private.last_event(run_id uuid)
returns int
language sql
stable
set search_path = ''
as $$
  select coalesce((select max(run_events.seq) from ai.run_events where run_events.run_id = last_event.run_id), 0);
$$;

comment on function private.last_event(uuid) is 'Number of the last event of a run; 0: none. Whoever goes on from there holds the lock of the run.';

create function private.last_begun_step(run_id uuid)
returns int
language sql
stable
set search_path = ''
as $$
  select (run_events.payload ->> 'step')::int
  from ai.run_events
  where run_events.run_id = last_begun_step.run_id and run_events.type = 'step_started'
  order by run_events.seq desc
  limit 1;
$$;

comment on function private.last_begun_step(uuid) is 'The step that the log says began last; null when it tells of none.';

create function private.run_usage(run_id uuid)
returns jsonb
language sql
stable
security definer -- whoever takes a run up or ends it reads no usage entries
set search_path = ''
as $$
  select jsonb_build_object(
    'prompt_tokens', coalesce(sum(usage_entries.prompt_tokens), 0), 'completion_tokens', coalesce(sum(usage_entries.completion_tokens), 0),
    'total_tokens', coalesce(sum(usage_entries.total_tokens), 0), 'reasoning_tokens', coalesce(sum(usage_entries.reasoning_tokens), 0),
    'cached_tokens', coalesce(sum(usage_entries.cached_tokens), 0)
  )
  from ai.usage_entries
  join ai.agent_runs on agent_runs.tenant_id = usage_entries.tenant_id and agent_runs.id = usage_entries.run_id
  where agent_runs.id = run_usage.run_id and usage_entries.kind = 'chat';
$$;

comment on function private.run_usage(uuid) is
  'The tokens that a run has used so far, whoever executed it: {prompt_tokens, completion_tokens, total_tokens, reasoning_tokens, cached_tokens}. Calls of executors that died count with their estimate.';

create function private.close_run_reservations(run_id uuid)
returns int
language sql
security definer -- as above
set search_path = ''
as $$
  select private.close_reservations(
    array(
      select token_reservations.id
      from private.token_reservations
      join ai.agent_runs on agent_runs.tenant_id = token_reservations.tenant_id and agent_runs.id = token_reservations.run_id
      where agent_runs.id = close_run_reservations.run_id
    ),
    null
  );
$$;

comment on function private.close_run_reservations(uuid) is
  'Counts the calls of a run to models that nobody will settle any more, each with the estimate of its prompt. The caller has locked the run. Returns how many.';

revoke execute on function private.last_event(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.last_begun_step(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.run_usage(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.close_run_reservations(uuid) from public, anon, authenticated, service_role;
grant execute on function private.last_event(uuid) to service_role;
grant execute on function private.last_begun_step(uuid) to service_role;
