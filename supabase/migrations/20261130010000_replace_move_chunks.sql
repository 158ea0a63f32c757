create or replace function private.move_chunks(chunk_ids uuid[])
returns void
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  -- The segments they go to are made first. Then those and the ones they leave are locked in the order of their ids: who moves
  -- chunks the other way at the same time waits, and cannot come to wait for us in a circle.
  insert into private.search_segments (tenant_id, kind, knowledge_base_id, visibility, owner_id, allowed_principals, language)
  select distinct
    chunks.tenant_id, 'chunk', chunks.knowledge_base_id, chunks.visibility,
    case when chunks.visibility <> 'tenant' then chunks.owner_id end,
    case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end,
    knowledge_bases.language
  from ai.chunks
  join ai.knowledge_bases on knowledge_bases.id = chunks.knowledge_base_id
  where chunks.id = any (move_chunks.chunk_ids)
  order by 1, 3, 4, 5, 6, 7
  on conflict on constraint search_segments_key do nothing;

  perform
  from private.search_segments
  where search_segments.id = any (
    array(
      select search_lexemes.segment_id from private.search_lexemes where search_lexemes.item_id = any (move_chunks.chunk_ids)
      union
      select segments.id
      from ai.chunks
      join ai.knowledge_bases on knowledge_bases.id = chunks.knowledge_base_id
      join private.search_segments as segments
        on segments.tenant_id = chunks.tenant_id
        and segments.kind = 'chunk'
        and segments.knowledge_base_id = chunks.knowledge_base_id
        and segments.agent_id is null
        and segments.visibility = chunks.visibility
        and segments.owner_id is not distinct from case when chunks.visibility <> 'tenant' then chunks.owner_id end
        and segments.allowed_principals = case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end
        and segments.language = knowledge_bases.language
      where chunks.id = any (move_chunks.chunk_ids)
    )
  )
  order by search_segments.id
  for update;

  delete from private.search_lexemes where search_lexemes.item_id = any (move_chunks.chunk_ids);
  -- Makes one again that was empty, and removed, before it was locked.
  perform private.index_chunks(move_chunks.chunk_ids);
  update private.search_vectors
  set segment_id = search_lexemes.segment_id, is_shared = search_segments.visibility = 'tenant'
  from private.search_lexemes
  join private.search_segments on search_segments.id = search_lexemes.segment_id
  where search_vectors.item_id = any (move_chunks.chunk_ids)
    and search_lexemes.item_id = search_vectors.item_id
    and search_vectors.segment_id <> search_lexemes.segment_id;
end;
$$;
