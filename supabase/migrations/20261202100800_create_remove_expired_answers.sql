-- Answers that are kept for a repetition were removed by later requests with keys only: where none came, they stayed for good, and with
-- them what agents had answered.
alter table private.sweeps drop constraint sweeps_name_is_known;
alter table private.sweeps add constraint sweeps_name_is_known check (
  name in (
    'requeue_work', 'requeue_enrichments', 'requeue_page_renderings', 'requeue_schedules', 'queue_maintenance', 'sweep_run_log',
    'expire_approvals', 'close_expired_searches', 'remove_stale_uploads', 'remove_expired_answers'
  )
);
insert into private.sweeps (name, least_seconds) values ('remove_expired_answers', 600);

create function ai.remove_expired_answers()
returns int
language plpgsql
set search_path = ''
as $$
declare
  removed int;
begin
  delete from private.idempotency_keys
  where idempotency_keys.scope in (
    select expired.scope
    from private.idempotency_keys as expired
    where expired.expires_at <= now()
    order by expired.expires_at
    limit 5000
    for update skip locked
  );
  get diagnostics removed = row_count;
  return removed;
end;
$$;

comment on function ai.remove_expired_answers() is
  'Ledger: forgets answers to requests with an Idempotency-Key that are kept for longer than a day, 5,000 at a time; returns how many.';

revoke execute on function ai.remove_expired_answers() from public, anon, authenticated, service_role;
grant execute on function ai.remove_expired_answers() to service_role;
