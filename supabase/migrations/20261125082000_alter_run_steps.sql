-- The journal of a run in one row per step: what the model said and what became of its calls change together, so they are written together.
alter table ai.run_steps add column calls jsonb not null default '{}';
alter table ai.run_steps add constraint run_steps_calls_is_an_object check (jsonb_typeof(calls) = 'object');

comment on column ai.run_steps.calls is
  'What became of its calls, by id: {call_id: {started?, finished?, checked?, decision?, decided_by?, decided_at?}}. A decision counts once: beginning the call again uses it up. For executors only.';
comment on column ai.agent_runs.last_seq is
  'Number of the last event in ai.run_events when the lease was last given, renewed or ended: exact for a run that nobody executes; while it runs the log may be ahead.';

-- A row is written twice and no index has what changes: room on the page keeps both versions there.
alter table ai.run_steps set (fillfactor = 70);

insert into ai.run_steps (tenant_id, run_id, step, user_id)
select distinct run_calls.tenant_id, run_calls.run_id, run_calls.step, agent_runs.user_id
from private.run_calls
join ai.agent_runs on agent_runs.tenant_id = run_calls.tenant_id and agent_runs.id = run_calls.run_id
on conflict on constraint run_steps_pkey do nothing;

update ai.run_steps
set calls = calls_of_step.calls
from (
  select
    run_calls.run_id, run_calls.step,
    jsonb_object_agg(
      run_calls.call_id,
      jsonb_strip_nulls(jsonb_build_object(
        'decision', run_calls.decision, 'decided_by', run_calls.decided_by, 'decided_at', run_calls.decided_at
      ))
      || case when run_calls.started is null then '{}'::jsonb else jsonb_build_object('started', run_calls.started) end
      || case when run_calls.finished is null then '{}'::jsonb else jsonb_build_object('finished', run_calls.finished) end
    ) as calls
  from private.run_calls
  group by run_calls.run_id, run_calls.step
) as calls_of_step
where run_steps.run_id = calls_of_step.run_id and run_steps.step = calls_of_step.step;
