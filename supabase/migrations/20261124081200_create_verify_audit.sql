create function private.verify_audit(tenant_id uuid, after_seq bigint, after_hash text, row_limit int)
returns jsonb
language plpgsql
stable -- one snapshot for the log and its head, whatever is committed meanwhile
security definer -- the head of the chain is readable by nobody
set search_path = ''
as $$
declare
  event ai.audit_events;
  head private.audit_heads;
  last_seq bigint := coalesce(verify_audit.after_seq, 0);
  last_hash text := repeat('0', 64);
  last_time timestamptz;
  checked int := 0;
  bad_seq bigint;
  reason text;
  skew_count int := 0;
  skewed_seq bigint;
  tolerance constant interval := '1 second';
begin
  if not (
    verify_audit.tenant_id = any (array(select private.caller_tenant_ids('admin')))
    or coalesce(auth.jwt() ->> 'role' = 'service_role', false)
  ) then
    perform private.raise_error(403, 'forbidden', 'The audit log is for admins of its tenant.', 'Ask an admin of the tenant.');
  end if;
  if last_seq < 0 or coalesce(verify_audit.row_limit, 0) not between 1 and 1000000 or verify_audit.after_hash !~ '^[0-9a-f]{64}$' then
    perform private.raise_error(
      400, 'invalid_request', 'after_seq is at least 0, row_limit 1 to 1000000, after_hash 64 hex digits in lower case.', null
    );
  end if;

  if last_seq > 0 then
    select * into event from ai.audit_events where audit_events.tenant_id = verify_audit.tenant_id and audit_events.seq = last_seq;
    last_hash := event.hash;
    last_time := event.recorded_at;
  end if;
  if last_hash is null then
    reason := 'gap';
  elsif last_hash <> verify_audit.after_hash then
    reason := 'anchor_changed';
  end if;
  if reason is not null then
    bad_seq := last_seq;
  end if;

  if reason is null then
    for event in
      select *
      from ai.audit_events
      where audit_events.tenant_id = verify_audit.tenant_id and audit_events.seq > last_seq
      order by audit_events.seq
      limit verify_audit.row_limit
    loop
      reason := case
        when event.seq <> last_seq + 1 then 'gap'
        when event.prev_hash <> last_hash then 'link_broken'
        when event.hash <> private.audit_hash(event) then 'row_changed'
      end;
      if reason is not null then
        bad_seq := last_seq + 1;
        exit;
      end if;
      if event.recorded_at < last_time - tolerance or event.recorded_at > clock_timestamp() + tolerance
        or event.occurred_at > event.recorded_at + tolerance
      then
        skew_count := skew_count + 1;
        skewed_seq := coalesce(skewed_seq, event.seq);
      end if;
      checked := checked + 1;
      last_seq := event.seq;
      last_hash := event.hash;
      last_time := event.recorded_at;
    end loop;
  end if;

  if reason is null and checked < verify_audit.row_limit then
    select * into head from private.audit_heads where audit_heads.tenant_id = verify_audit.tenant_id;
    if coalesce(head.seq, 0) > last_seq then
      reason := 'end_missing';
      bad_seq := last_seq + 1;
    elsif coalesce(head.seq, 0) < last_seq or coalesce(head.hash, repeat('0', 64)) <> last_hash then
      reason := 'head_changed';
      bad_seq := last_seq;
    end if;
  end if;

  return jsonb_build_object(
    'ok', reason is null, 'checked', checked, 'first_bad_seq', bad_seq, 'reason', reason, 'head_hash', last_hash, 'last_seq', last_seq,
    'is_complete', reason is null and checked < verify_audit.row_limit,
    'clock', jsonb_build_object('skewed', skew_count, 'first_seq', skewed_seq)
  );
end;
$$;

comment on function private.verify_audit(uuid, bigint, text, int) is 'Core of ai.verify_audit().';

create function ai.verify_audit(tenant_id uuid, after_seq bigint default 0, after_hash text default null, row_limit int default 100000)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select private.verify_audit(tenant_id, after_seq, after_hash, row_limit);
$$;

comment on function ai.verify_audit(uuid, bigint, text, int) is
  'Computes the audit chain of a tenant anew, for its admins and the secret key: at most row_limit rows after row after_seq, whose hash must be after_hash if that is given. '
  'Returns {ok, checked, first_bad_seq, reason (gap, link_broken, row_changed, end_missing, head_changed, anchor_changed), head_hash and last_seq of the last good row, is_complete (the end was reached), '
  'clock: {skewed (rows whose time does not fit, by more than a second), first_seq}}. PT403 forbidden for everybody else, PT400 invalid_request.';

revoke execute on function private.verify_audit(uuid, bigint, text, int) from public;
revoke execute on function ai.verify_audit(uuid, bigint, text, int) from public, anon, authenticated, service_role;
grant execute on function private.verify_audit(uuid, bigint, text, int) to authenticated, service_role;
grant execute on function ai.verify_audit(uuid, bigint, text, int) to authenticated, service_role;
