-- A write of the log reserves tokens for the call of the model that comes after it: one transaction, and one way there and back.
drop function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int);

create function ai.append_run_events(
  run_id uuid,
  lease_token uuid,
  first_seq int,
  events jsonb,
  journal jsonb default '[]',
  lease_seconds int default 10,
  reservation jsonb default null
)
returns jsonb
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  run ai.agent_runs;
  new_last_seq int;
  got_further boolean;
  stop text;
  tokens jsonb := '{}';
  lease constant interval := make_interval(secs => least(greatest(append_run_events.lease_seconds, 1), 600));
  reserves constant boolean := coalesce(jsonb_typeof(append_run_events.reservation) = 'object', false);
begin
  if append_run_events.events @> '[{"type": "complete"}]' then
    raise exception 'complete is written with the end of the run, by finish_run' using errcode = '22023';
  end if;
  select * into run
  from ai.agent_runs
  where agent_runs.id = append_run_events.run_id and agent_runs.lease_token = append_run_events.lease_token
  for no key update;
  if run.id is null then
    return jsonb_build_object('held', false, 'last_seq', null, 'stop', null);
  end if;
  new_last_seq := private.write_run_events(run.tenant_id, run.id, run.user_id, private.last_event(run.id), append_run_events.first_seq, append_run_events.events);
  if reserves then
    perform private.lock_budget_counters(run, append_run_events.journal);
  end if;
  got_further := private.write_run_journal(run.tenant_id, run.id, run.user_id, append_run_events.journal);
  -- The lock has kept everybody else away; a version of the run is written only when there is something to write in it.
  if run.lease_expires_at < now() + lease * 2 / 3 or (got_further and run.attempts <> 1) then
    update ai.agent_runs
    set last_seq = new_last_seq, lease_expires_at = now() + lease, attempts = case when got_further then 1 else agent_runs.attempts end
    where agent_runs.id = run.id;
  end if;
  stop := private.run_stop(run);
  if reserves then
    -- After the settlements. Nothing for a run that is to stop; nor where the log is further, which its executor never is before it has
    -- the answer: this is a try that somebody waited for no more, and what it asked for may be settled already. (Where no event has
    -- followed since, it may hold its tokens once more, until the run ends: too many are held then, never too few.)
    tokens := private.reserve_run_tokens(
      run, append_run_events.reservation,
      stop is null and new_last_seq < append_run_events.first_seq + jsonb_array_length(coalesce(append_run_events.events, '[]'))
    );
  end if;
  return jsonb_build_object('held', true, 'last_seq', new_last_seq, 'stop', stop) || tokens;
end;
$$;

comment on function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int, jsonb) is
  'Ledger: adds events [{event, type, ...}] to the log of a run, the first with the number first_seq, applies the journal in the same transaction, and renews the lease for lease_seconds once a third of them is used up. '
  'Sent again, nothing is written twice. Returns {held, last_seq, stop: null, cancelled, membership_lost or agent_unpublished}; held false: the lease is lost and nothing was written. '
  'PT409 conflict for a gap, 22023 for an unknown op and for the event complete. journal: [{op: turn, step, ...}, {op: call_started, step, call_id, is_retry_safe, ...}, {op: call_finished, step, call_id, ...}, {op: step_done, step, record}, {op: call_checked, step, call_id, checks}, {op: tokens_used, reservation_id, usage}]. '
  'reservation {id, step, model, prompt_tokens, max_tokens}: tokens for one call to a model, held once under this id after the journal has settled what it settles; the answer then has grant {id, max_tokens} '
  '(max_tokens as of ai.reserve_tokens()), or refusal {code: PT402, message, hint, details} when a budget has too little left, with everything else written all the same; neither of them for a run that is to stop.';

comment on function ai.reserve_tokens(uuid, uuid, int, text, bigint, bigint) is
  'Ledger: holds tokens back for one call to a model: {id, max_tokens}. max_tokens is what was asked for (4096 without), less if the tightest budget has less left; unbounded stays null where no budget applies. '
  'PT402 budget_exceeded {balance, estimated_cost, renews_at, scope, period} when prompt_tokens and one more are not left. Null when the lease is lost. For executors of earlier versions: ai.append_run_events() reserves with what is written before the call.';

revoke execute on function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int, jsonb) from public, anon, authenticated, service_role;
grant execute on function ai.append_run_events(uuid, uuid, int, jsonb, jsonb, int, jsonb) to service_role;
