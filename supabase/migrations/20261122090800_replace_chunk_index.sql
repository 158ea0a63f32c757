create function private.chunk_words(content text, meta jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select coalesce(
    (
      select string_agg(headings.heading, E'\n')
      from jsonb_array_elements_text(case when jsonb_typeof(meta -> 'heading_path') = 'array' then meta -> 'heading_path' else '[]' end) as headings (heading)
    ) || E'\n',
    ''
  ) || content;
$$;

comment on function private.chunk_words(text, jsonb) is 'What a chunk is found by: its text under the headings it stands under.';

create function private.index_chunks(chunk_ids uuid[])
returns void
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  -- `do update` locks the segment, so that one being removed is waited for and made again.
  insert into private.search_segments (tenant_id, kind, knowledge_base_id, visibility, owner_id, allowed_principals, language)
  select distinct
    chunks.tenant_id, 'chunk', chunks.knowledge_base_id, chunks.visibility,
    case when chunks.visibility <> 'tenant' then chunks.owner_id end,
    case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end,
    knowledge_bases.language
  from ai.chunks
  join ai.knowledge_bases on knowledge_bases.id = chunks.knowledge_base_id
  where chunks.id = any (index_chunks.chunk_ids)
  order by 1, 3, 4, 5, 6, 7
  on conflict on constraint search_segments_key do update set kind = excluded.kind;

  insert into private.search_lexemes (item_id, tenant_id, segment_id, source_id, term_count, keys, lexemes)
  select
    chunks.id, chunks.tenant_id, search_segments.id, chunks.source_id,
    (select coalesce(sum(cardinality(entry.positions)), 0) from unnest(lexed.lexemes) as entry),
    private.search_keys_of(search_segments.id, lexed.lexemes, private.identifiers_of(chunks.text), chunks.source_id),
    lexed.lexemes
  from ai.chunks
  join ai.knowledge_bases on knowledge_bases.id = chunks.knowledge_base_id
  join private.search_segments
    on search_segments.tenant_id = chunks.tenant_id
    and search_segments.kind = 'chunk'
    and search_segments.knowledge_base_id = chunks.knowledge_base_id
    and search_segments.agent_id is null
    and search_segments.visibility = chunks.visibility
    and search_segments.owner_id is not distinct from case when chunks.visibility <> 'tenant' then chunks.owner_id end
    and search_segments.allowed_principals = case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end
    and search_segments.language = knowledge_bases.language
  cross join lateral (select private.lexemes_of(private.chunk_words(chunks.text, chunks.meta), knowledge_bases.language) as lexemes offset 0) as lexed
  where chunks.id = any (index_chunks.chunk_ids);
end;
$$;

comment on function private.index_chunks(uuid[]) is 'Puts the words of chunks into the index, in the segment of those who may see them. Their vectors are given by store_vectors().';

create function private.move_chunks(chunk_ids uuid[])
returns void
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  delete from private.search_lexemes where search_lexemes.item_id = any (move_chunks.chunk_ids);
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

comment on function private.move_chunks(uuid[]) is
  'Indexes the words of chunks anew, in the segment they belong to now, and takes their vectors there: after a change of visibility, text or language.';

create function private.index_changed_chunks()
returns trigger
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    perform private.index_chunks(array(select added.id from added));
  elsif tg_op = 'UPDATE' then
    perform private.move_chunks(
      array(
        select added.id
        from added
        join removed on removed.id = added.id
        where (added.visibility, added.owner_id, added.allowed_principals, added.knowledge_base_id, added.text, added.meta)
          is distinct from (removed.visibility, removed.owner_id, removed.allowed_principals, removed.knowledge_base_id, removed.text, removed.meta)
      )
    );
  else
    delete from private.search_lexemes using removed where search_lexemes.item_id = removed.id;
    delete from private.search_vectors using removed where search_vectors.item_id = removed.id;
  end if;
  return null;
end;
$$;

comment on function private.index_changed_chunks() is 'Trigger: what ai.chunks holds is what the index holds, in the same transaction.';

revoke execute on function private.chunk_words(text, jsonb) from public;
revoke execute on function private.index_chunks(uuid[]) from public;
revoke execute on function private.move_chunks(uuid[]) from public;
revoke execute on function private.index_changed_chunks() from public;
grant execute on function private.move_chunks(uuid[]) to service_role;

create trigger index_added_chunks after insert on ai.chunks referencing new table as added
for each statement execute function private.index_changed_chunks();
create trigger index_changed_chunks after update on ai.chunks referencing old table as removed new table as added
for each statement execute function private.index_changed_chunks();
create trigger unindex_removed_chunks after delete on ai.chunks referencing old table as removed
for each statement execute function private.index_changed_chunks();

-- What was indexed before moves over; the vectors lose half of their bits, which ranks alike.
select private.index_chunks(array(select chunks.id from ai.chunks));
select private.store_vectors(
  stored.embedding_model, array_agg(stored.chunk_id order by stored.chunk_id), array_agg(stored.embedding order by stored.chunk_id)
)
from private.chunk_index as stored
group by stored.tenant_id, stored.knowledge_base_id, stored.embedding_model, extensions.vector_dims(stored.embedding);

drop function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real);
drop table private.chunk_index;

create or replace function ai.finish_indexing(indexed_source_id uuid, lease_token uuid, chunk_count int, embedding_model text, stats jsonb)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held ai.indexed_sources;
  source ai.sources;
  staged_count int;
begin
  -- Locked, so that a change of who may see the source either finds the new chunks or is copied into them; and before the
  -- indexed source, the order in which deleting, retrying and extracting take these locks.
  select sources.* into source
  from ai.sources
  where sources.id = (
    select indexed_sources.source_id from ai.indexed_sources where indexed_sources.id = finish_indexing.indexed_source_id
  )
  for update;
  held := private.holds_indexing_lease(finish_indexing.indexed_source_id, finish_indexing.lease_token);
  if held.id is null then
    return false;
  end if;

  delete from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id and staged_chunks.chunk_index >= finish_indexing.chunk_count;
  select count(*) into staged_count
  from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id and staged_chunks.embedding_model = finish_indexing.embedding_model;
  if staged_count <> finish_indexing.chunk_count then
    raise exception 'staged % of % chunks', staged_count, finish_indexing.chunk_count using errcode = '55000';
  end if;

  delete from ai.chunks where chunks.indexed_source_id = held.id;
  insert into ai.chunks (
    tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, allowed_principals, text, chunk_index,
    start_char, end_char, tokens, score, meta, embedding_model
  )
  select
    held.tenant_id, held.id, held.knowledge_base_id, held.source_id, source.owner_id, source.visibility,
    source.allowed_principals, staged_chunks.text, staged_chunks.chunk_index, staged_chunks.start_char, staged_chunks.end_char,
    staged_chunks.tokens, staged_chunks.score, staged_chunks.meta, staged_chunks.embedding_model
  from private.staged_chunks
  where staged_chunks.indexed_source_id = held.id;
  perform private.store_vectors(
    finish_indexing.embedding_model, array_agg(chunks.id order by chunks.chunk_index), array_agg(staged_chunks.embedding order by chunks.chunk_index)
  )
  from ai.chunks
  join private.staged_chunks
    on staged_chunks.indexed_source_id = chunks.indexed_source_id and staged_chunks.chunk_index = chunks.chunk_index
  where chunks.indexed_source_id = held.id
  having count(*) > 0;
  delete from private.staged_chunks where staged_chunks.indexed_source_id = held.id;

  update ai.knowledge_bases
  set embedding_model = finish_indexing.embedding_model
  where knowledge_bases.id = held.knowledge_base_id and knowledge_bases.embedding_model is null and finish_indexing.chunk_count > 0;
  update ai.indexed_sources
  set
    index_status = 'indexed', indexed_at = now(), embedding_model = finish_indexing.embedding_model,
    stats = coalesce(finish_indexing.stats, '{}') || jsonb_build_object('chunk_count', finish_indexing.chunk_count),
    lease_token = null, leased_by = null, lease_expires_at = null
  where indexed_sources.id = held.id;
  return true;
end;
$$;
