-- Chunks are put elsewhere in the index when other people may search them, not whenever the row of their source changes: whose a
-- source is that everybody in the tenant sees says nothing there, and to move all that a person owns took minutes when they left.
create or replace function private.index_changed_chunks()
returns trigger
language plpgsql
security definer -- the index is written through triggers only
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    perform private.index_chunks(array(select added.id from added));
  elsif tg_op = 'UPDATE' then
    perform private.move_chunks(moved.ids)
    from (
      select array_agg(added.id) as ids
      from added
      join removed on removed.id = added.id
      where (added.visibility, added.knowledge_base_id, added.text, added.meta)
          is distinct from (removed.visibility, removed.knowledge_base_id, removed.text, removed.meta)
        -- As segments are told apart.
        or (added.visibility <> 'tenant' and added.owner_id is distinct from removed.owner_id)
        or (added.visibility = 'granted' and added.allowed_principals is distinct from removed.allowed_principals)
    ) as moved
    where moved.ids is not null;
  else
    delete from private.search_lexemes using removed where search_lexemes.item_id = removed.id;
    delete from private.search_vectors using removed where search_vectors.item_id = removed.id;
  end if;
  return null;
end;
$$;
