create table private.object_removals (
  id uuid primary key default gen_random_uuid(),
  storage_path text not null,
  created_at timestamptz not null default now()
);

comment on table private.object_removals is 'Objects whose source row is gone and whose bytes must follow. The job remove_object carries the id.';

alter table private.object_removals enable row level security;
alter table private.object_removals force row level security;
revoke all on table private.object_removals from anon, authenticated, service_role;
grant select, insert, delete on table private.object_removals to service_role;

create function private.remove_object_of_source()
returns trigger
language plpgsql
security definer -- the queue and this table are writable by nobody
set search_path = ''
as $$
declare
  removal_id uuid;
begin
  insert into private.object_removals (storage_path) values (old.storage_path) returning id into removal_id;
  perform private.enqueue('remove_object', jsonb_build_object('id', removal_id), now(), removal_id::text);
  -- The upload link lives for five minutes, and may be used after this: look again when it cannot be any more.
  if old.created_at > now() - interval '10 minutes' then
    insert into private.object_removals (storage_path) values (old.storage_path) returning id into removal_id;
    perform private.enqueue(
      'remove_object', jsonb_build_object('id', removal_id), old.created_at + interval '10 minutes', removal_id::text
    );
  end if;
  return null;
end;
$$;

comment on function private.remove_object_of_source() is 'Trigger: deleting a source, by whatever way, queues the removal of its bytes in the same transaction.';

revoke execute on function private.remove_object_of_source() from public;

create trigger remove_object_of_source after delete on ai.sources for each row execute function private.remove_object_of_source();

create function ai.claim_object_removal(id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select jsonb_build_object('storage_path', object_removals.storage_path)
  from private.object_removals
  where object_removals.id = claim_object_removal.id;
$$;

comment on function ai.claim_object_removal(uuid) is 'Ledger: {"storage_path"} of an object to remove, or null if that is done. Removing twice is harmless.';

create function ai.finish_object_removal(id uuid)
returns void
language sql
set search_path = ''
as $$
  delete from private.object_removals where object_removals.id = finish_object_removal.id;
$$;

comment on function ai.finish_object_removal(uuid) is 'Ledger: the object is gone.';

revoke execute on function ai.claim_object_removal(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.finish_object_removal(uuid) from public, anon, authenticated, service_role;
grant execute on function ai.claim_object_removal(uuid) to service_role;
grant execute on function ai.finish_object_removal(uuid) to service_role;
