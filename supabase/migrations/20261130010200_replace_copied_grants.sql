-- By statement, not row by row: whoever changes several sources at once locks all of them, then all their chunks, then their part of
-- the index, each in the order of the ids. One source after the other, a part of the index would be held when the next source is asked for.
drop trigger copy_grants_to_source on ai.source_grants;

create or replace function private.copy_grants_to_source()
returns trigger
language plpgsql
security definer -- allowed_principals is writable by nobody
set search_path = ''
as $$
declare
  changed uuid[];
begin
  if tg_op = 'INSERT' then
    changed := array(select added.source_id from added);
  elsif tg_op = 'UPDATE' then
    changed := array(select added.source_id from added union select removed.source_id from removed);
  else
    changed := array(select removed.source_id from removed);
  end if;
  -- Two changes at once take turns here, and the update below reads grants anew; without it the second would write an
  -- old list over the first's, and a grant taken back could live on.
  perform from ai.sources where sources.id = any (changed) order by sources.id for no key update;
  update ai.sources
  set allowed_principals = array(
    select coalesce(source_grants.user_id, source_grants.group_id)
    from ai.source_grants
    where source_grants.source_id = sources.id
    order by 1
  )
  where sources.id = any (changed);
  return null;
end;
$$;

create trigger copy_added_grants after insert on ai.source_grants referencing new table as added
for each statement execute function private.copy_grants_to_source();
create trigger copy_changed_grants after update on ai.source_grants referencing old table as removed new table as added
for each statement execute function private.copy_grants_to_source();
create trigger copy_removed_grants after delete on ai.source_grants referencing old table as removed
for each statement execute function private.copy_grants_to_source();

drop trigger copy_visibility_to_chunks on ai.sources;

create or replace function private.copy_visibility_to_chunks()
returns trigger
language plpgsql
security definer -- chunks are writable by nobody
set search_path = ''
as $$
declare
  changed constant uuid[] := array(
    select added.id
    from added
    join removed on removed.id = added.id
    where (added.visibility, added.owner_id, added.allowed_principals) is distinct from (removed.visibility, removed.owner_id, removed.allowed_principals)
  );
begin
  if changed = '{}' then
    return null;
  end if;
  -- Whoever deletes a knowledge base, or takes a source out of it, holds these rows first and deletes its chunks in an order of its own.
  perform
  from ai.knowledge_bases
  where knowledge_bases.id = any (
    array(
      select indexed_sources.knowledge_base_id
      from ai.sources
      join ai.indexed_sources on indexed_sources.tenant_id = sources.tenant_id and indexed_sources.source_id = sources.id
      where sources.id = any (changed)
    )
  )
  order by knowledge_bases.id
  for key share;
  perform
  from ai.sources
  join ai.indexed_sources on indexed_sources.tenant_id = sources.tenant_id and indexed_sources.source_id = sources.id
  where sources.id = any (changed)
  order by indexed_sources.id
  for key share of indexed_sources;
  -- In the order in which store_reembedded() locks them.
  perform
  from ai.chunks
  join ai.sources on sources.tenant_id = chunks.tenant_id and sources.id = chunks.source_id
  where sources.id = any (changed)
  order by chunks.id
  for no key update of chunks;
  update ai.chunks
  set visibility = sources.visibility, owner_id = sources.owner_id, allowed_principals = sources.allowed_principals
  from ai.sources
  where sources.id = any (changed) and chunks.tenant_id = sources.tenant_id and chunks.source_id = sources.id;
  return null;
end;
$$;

create trigger copy_visibility_to_chunks after update on ai.sources referencing old table as removed new table as added
for each statement execute function private.copy_visibility_to_chunks();
