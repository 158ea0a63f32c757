-- How many requests somebody has made in the running minute, counted for all instances of all functions together.
create table private.rate_counters (
  bucket bytea primary key,
  window_start timestamptz not null,
  taken int not null,
  granted int not null
)
with (fillfactor = 70);

comment on table private.rate_counters is 'Requests of the running window by bucket: the SHA-256 of who asks. A window that is over is overwritten or removed.';
comment on column private.rate_counters.granted is 'What the last call of ai.take_requests() was given.';

create index rate_counters_window_start_idx on private.rate_counters (window_start);

alter table private.rate_counters enable row level security;
alter table private.rate_counters force row level security;
revoke all on table private.rate_counters from anon, authenticated, service_role;
grant select, insert, update, delete on table private.rate_counters to service_role;

create function ai.take_requests(subject text, wanted int, max_requests int, user_id uuid default null, tenant_id uuid default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  window_seconds constant int := 60;
  started constant timestamptz := to_timestamp(floor(extract(epoch from clock_timestamp()) / window_seconds) * window_seconds);
  ends_in constant numeric := round(greatest(window_seconds - extract(epoch from clock_timestamp() - started), 0.001), 3);
  -- A tenant the person is not in has no bucket for them: naming others would be a way to ever new ones.
  own_tenant constant uuid := case when take_requests.user_id is null or private.is_member(take_requests.tenant_id, take_requests.user_id) then take_requests.tenant_id end;
  key constant bytea := sha256(convert_to(jsonb_build_array(take_requests.subject, take_requests.user_id, own_tenant)::text, 'UTF8'));
  given int;
begin
  if take_requests.subject is null or take_requests.wanted is null or take_requests.wanted < 1 or take_requests.max_requests is null or take_requests.max_requests < 1 then
    raise exception 'subject, wanted and max_requests are required and positive' using errcode = '22023';
  end if;
  insert into private.rate_counters as counters (bucket, window_start, taken, granted)
  values (key, started, least(wanted, max_requests), least(wanted, max_requests))
  on conflict (bucket) do update
  set
    granted = case
      when counters.window_start >= excluded.window_start then greatest(least(wanted, max_requests - counters.taken), 0)
      else excluded.granted
    end,
    taken = case
      when counters.window_start >= excluded.window_start then greatest(least(counters.taken + wanted, max_requests), counters.taken)
      else excluded.taken
    end,
    window_start = greatest(counters.window_start, excluded.window_start)
  returning granted into given;

  -- Buckets nobody comes back to; those another call is at are left to it.
  delete from private.rate_counters
  where rate_counters.bucket in (
    select counters.bucket
    from private.rate_counters as counters
    where counters.window_start < started - interval '10 minutes'
    limit 20
    for update skip locked
  );
  return jsonb_build_object('granted', given, 'ends_in', ends_in);
end;
$$;

comment on function ai.take_requests(text, int, int, uuid, uuid) is
  'Ledger: takes up to `wanted` of the max_requests per minute of a bucket: {granted: 0 to wanted, ends_in: seconds until the minute is over}. The bucket is the subject (user, backend, address:...) with the person and, if they are in it, the tenant.';

revoke execute on function ai.take_requests(text, int, int, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function ai.take_requests(text, int, int, uuid, uuid) to service_role;
