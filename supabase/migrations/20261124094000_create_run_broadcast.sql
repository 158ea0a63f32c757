-- Every event of a run reaches the devices of its person as soon as it is committed. The log stays the truth: a broadcast may get lost,
-- and whoever notices a gap reads the log.
create function private.broadcast_run_events()
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
      agent_runs.run_id, new_events.seq, new_events.type, new_events.user_id,
      -- Larger ones are announced by number; the client reads the row under its own rights.
      case
        when octet_length(new_events.payload::text) > 32768 then jsonb_build_object('ref', true)
        else jsonb_build_object('ts', new_events.created_at) || new_events.payload
      end as payload
    from new_events
    join ai.agent_runs on agent_runs.id = new_events.run_id
    order by new_events.run_id, new_events.seq
  loop
    message := event.payload || jsonb_build_object('run_id', event.run_id, 'seq', event.seq, 'type', event.type);
    if event.user_id is not null then
      perform realtime.send(payload => message, event => 'run_event', topic => 'chat:' || event.user_id::text, private => true);
    end if;
    perform realtime.send(payload => message, event => 'run_event', topic => 'run:' || event.run_id, private => true);
  end loop;
  return null;
end;
$$;

comment on function private.broadcast_run_events() is
  'Trigger: sends each new event of a run as {run_id, seq, type, ts, event, ...} to the private topics chat:{user_id} and run:{run_id}; one of more than 32 KB as {run_id, seq, type, ref: true}. '
  'Never fails the run: realtime.send() turns its errors into warnings.';

revoke execute on function private.broadcast_run_events() from public;

create trigger broadcast_run_events after insert on ai.run_events
referencing new table as new_events
for each statement execute function private.broadcast_run_events();

-- Read only, like the channel of a person: nobody but the database speaks here. Row security of the runs decides who may read which.
create policy "people read the channels of runs they may read" on realtime.messages
for select to authenticated
using (
  realtime.messages.extension = 'broadcast'
  and left((select realtime.topic()), 4) = 'run:'
  and exists (select from ai.agent_runs where agent_runs.run_id = substr((select realtime.topic()), 5))
);
