-- LOCAL STACK ONLY. The objects Realtime creates, in our own words. On a hosted project `postgres` may create nothing but
-- policies in this schema. The partitions are kept by the server there, and the NOTIFY trigger has no counterpart.
create table if not exists realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  constraint messages_payload_exclusive check (payload is null or binary_payload is null),
  primary key (id, inserted_at)
) partition by range (inserted_at);

create index if not exists messages_replay_idx on realtime.messages (inserted_at desc, topic)
where extension = 'broadcast' and private;

alter table realtime.messages enable row level security;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;
grant all on realtime.messages to postgres, supabase_realtime_admin;

create or replace function realtime.topic()
returns text
language sql
stable
as $$
  select nullif(current_setting('realtime.topic', true), '')::text
$$;

create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void
language plpgsql
as $$
declare
  new_id uuid := gen_random_uuid();
begin
  perform set_config('realtime.topic', topic, true);
  insert into realtime.messages (id, payload, event, topic, private, extension)
  values (
    new_id,
    case when payload ? 'id' then payload else jsonb_set(payload, '{id}', to_jsonb(new_id)) end,
    event,
    topic,
    private,
    'broadcast'
  );
exception
  when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

create or replace function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
returns void
language plpgsql
as $$
begin
  perform set_config('realtime.topic', topic, true);
  insert into realtime.messages (binary_payload, event, topic, private, extension)
  values (payload, event, topic, private, 'broadcast');
exception
  when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

create or replace function realtime.broadcast_changes(
  topic_name text,
  event_name text,
  operation text,
  table_name text,
  table_schema text,
  new record,
  old record,
  level text default 'ROW'
)
returns void
language plpgsql
as $$
begin
  if level = 'STATEMENT' then
    raise exception 'broadcast_changes works for each row only';
  end if;
  if operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise exception 'unexpected operation: %', operation;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'old_record', to_jsonb(old),
      'record', to_jsonb(new),
      'operation', operation,
      'table', table_name,
      'schema', table_schema
    ),
    event_name,
    topic_name
  );
end
$$;

-- Yesterday to today + 3 (UTC); partitions older than 72 hours are dropped. Called at start and every few hours.
create or replace function realtime.ensure_partitions()
returns void
language plpgsql
as $$
declare
  today date := (now() at time zone 'utc')::date;
  day date;
  old_name text;
begin
  for day in select generate_series(today - 1, today + 3, interval '1 day')::date loop
    execute format(
      'create table if not exists realtime.%I partition of realtime.messages for values from (%L) to (%L)',
      'messages_' || to_char(day, 'YYYY_MM_DD'),
      day,
      day + 1
    );
  end loop;
  for old_name in
    select pg_class.relname
    from pg_inherits
    join pg_class on pg_class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'realtime.messages'::regclass
      and to_date(right(pg_class.relname, 10), 'YYYY_MM_DD') < today - 3
  loop
    execute format('drop table realtime.%I', old_name);
  end loop;
end
$$;

revoke execute on function realtime.ensure_partitions() from public;

-- No payloads: they may exceed NOTIFY's 8000 bytes. inserted_at prunes the read to one partition; by the topic the gateway knows
-- whether anybody is there to read for. One that is too long for that is left out.
create or replace function realtime.notify_message()
returns trigger
language plpgsql
as $$
begin
  perform pg_notify(
    'realtime_messages',
    new.id || ' ' || new.inserted_at || case
      when octet_length(new.topic) <= 1000 then E'\n' || case when new.private then 'private:' else 'public:' end || new.topic
      else ''
    end
  );
  return null;
end
$$;

create or replace trigger notify_message
after insert on realtime.messages
for each row
when (new.extension = 'broadcast')
execute function realtime.notify_message();

select realtime.ensure_partitions();

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end
$$;
