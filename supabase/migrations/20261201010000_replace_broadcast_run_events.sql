-- chat:{user_id} may be joined by a member of any tenant. Who is removed from one and stays in another heard there how their run in
-- the first went on, and with its last events the whole answer.
create or replace function private.broadcast_run_events()
returns trigger
language plpgsql
security definer -- realtime.send() runs with the caller's rights and swallows the refusal: as invoker nothing would ever arrive
set search_path = ''
as $$
declare
  event record;
  message jsonb;
begin
  for event in
    select
      agent_runs.run_id, new_events.seq, new_events.type, new_events.user_id, person.is_member,
      -- Larger ones are announced by number; the client reads the row under its own rights. So are those of a person who has left:
      -- a channel that they joined before may be open still.
      case
        when octet_length(new_events.payload::text) > 32768 or (new_events.user_id is not null and not person.is_member) then jsonb_build_object('ref', true)
        else jsonb_build_object('ts', new_events.created_at) || new_events.payload
      end as payload
    from new_events
    join ai.agent_runs on agent_runs.id = new_events.run_id
    -- The person hears of it while they are a member of the tenant of the run.
    cross join lateral (
      select exists (
        select from public.memberships
        where memberships.tenant_id = new_events.tenant_id and memberships.user_id = new_events.user_id
      ) as is_member
    ) as person
    order by new_events.run_id, new_events.seq
  loop
    message := event.payload || jsonb_build_object('run_id', event.run_id, 'seq', event.seq, 'type', event.type);
    if event.is_member then
      perform realtime.send(payload => message, event => 'run_event', topic => 'chat:' || event.user_id::text, private => true);
    end if;
    perform realtime.send(payload => message, event => 'run_event', topic => 'run:' || event.run_id, private => true);
  end loop;
  return null;
end;
$$;

comment on function private.broadcast_run_events() is
  'Trigger: sends each new event of a run as {run_id, seq, type, ts, event, ...} to the private topics run:{run_id} and, while its person is a member of its tenant, chat:{user_id}; '
  'one of more than 32 KB, or of a person who has left it, as {run_id, seq, type, ref: true}. Never fails the run: realtime.send() turns its errors into warnings.';

revoke execute on function private.broadcast_run_events() from public;
