-- Memories are indexed as chunks are. Their vectors move where all vectors are, so that no client can select one; what is left
-- in the column `embedding` names the memory, and the operator <=> finds the vector under the caller's rights.
create type public.memory_embedding as (memory_id uuid, embedding_model text);

comment on type public.memory_embedding is
  'Stands for the vector of a memory: it can be compared (embedding <=> query) by who may read the memory, and read by nobody.';

create function private.index_memories(memory_ids uuid[])
returns void
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  -- `do update` locks the segment, so that one being removed is waited for and made again.
  insert into private.search_segments (tenant_id, kind, agent_id, visibility, owner_id, language)
  select distinct
    memories.tenant_id, 'memory', memories.agent_id, case when memories.user_id is null then 'tenant' else 'private' end, memories.user_id, 'english'
  from public.memories
  where memories.id = any (index_memories.memory_ids)
  order by 1, 3, 4, 5
  on conflict on constraint search_segments_key do update set kind = excluded.kind;

  insert into private.search_lexemes (item_id, tenant_id, segment_id, term_count, keys, lexemes)
  select
    memories.id, memories.tenant_id, search_segments.id,
    (select coalesce(sum(cardinality(entry.positions)), 0) from unnest(lexed.lexemes) as entry),
    array_remove(private.search_keys_of(search_segments.id, lexed.lexemes, private.identifiers_of(memories.body), null), null),
    lexed.lexemes
  from public.memories
  join private.search_segments
    on search_segments.tenant_id = memories.tenant_id
    and search_segments.kind = 'memory'
    and search_segments.knowledge_base_id is null
    and search_segments.agent_id is not distinct from memories.agent_id
    and search_segments.visibility = case when memories.user_id is null then 'tenant' else 'private' end
    and search_segments.owner_id is not distinct from memories.user_id
    and search_segments.language = 'english'
  cross join lateral (select private.lexemes_of(memories.body, 'english') as lexemes offset 0) as lexed
  where memories.id = any (index_memories.memory_ids);
end;
$$;

comment on function private.index_memories(uuid[]) is
  'Puts the words of memories into the index, in the segment of those who may read them: one person, or with user_id null the tenant.';

create function private.index_changed_memories()
returns trigger
language plpgsql
security definer -- the index and the queue are writable by nobody
set search_path = ''
as $$
declare
  moved uuid[];
  rewritten uuid[] := '{}';
begin
  if tg_op = 'DELETE' then
    delete from private.search_lexemes using removed where search_lexemes.item_id = removed.id;
    delete from private.search_vectors using removed where search_vectors.item_id = removed.id;
    return null;
  elsif tg_op = 'INSERT' then
    rewritten := array(select added.id from added);
    perform private.index_memories(rewritten);
  else
    select
      coalesce(array_agg(added.id), '{}'),
      coalesce(array_agg(added.id) filter (where added.body <> removed.body), '{}')
    into moved, rewritten
    from added
    join removed on removed.id = added.id
    where (added.tenant_id, added.user_id, added.agent_id, added.body) is distinct from (removed.tenant_id, removed.user_id, removed.agent_id, removed.body);
    if moved = '{}' then
      return null;
    end if;
    delete from private.search_lexemes where search_lexemes.item_id = any (moved);
    -- A changed text loses the vector of the old one.
    delete from private.search_vectors where search_vectors.item_id = any (rewritten);
    perform private.index_memories(moved);
    update private.search_vectors
    set segment_id = search_lexemes.segment_id, is_shared = search_segments.visibility = 'tenant'
    from private.search_lexemes
    join private.search_segments on search_segments.id = search_lexemes.segment_id
    where search_vectors.item_id = any (moved)
      and search_lexemes.item_id = search_vectors.item_id
      and search_vectors.segment_id <> search_lexemes.segment_id;
  end if;
  perform private.enqueue('embed_memory', jsonb_build_object('id', written.id), now(), written.id::text)
  from unnest(rewritten) as written (id);
  return null;
end;
$$;

comment on function private.index_changed_memories() is
  'Trigger: what public.memories holds is what the index holds, in the same transaction; a new text is queued to be embedded.';

revoke execute on function private.index_memories(uuid[]) from public;
revoke execute on function private.index_changed_memories() from public;

-- Small texts, one request each: what keeps failing is found by the sweep an hour later, so there are no dead letters.
select pgboss.create_queue('embed_memory', '{"policy": "short", "retryLimit": 6, "retryDelay": 2, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 300, "heartbeatSeconds": 30, "notify": true}');

-- What is there already: words first. Of the vectors, those of the model that most memories of a tenant have; the others could
-- not be compared with them and are made anew. Half of their bits are lost, which ranks alike.
drop trigger forget_stale_embedding on public.memories;
select private.index_memories(array(select memories.id from public.memories));
update public.tenants
set memory_embedding_model = (
  select memories.embedding_model
  from public.memories
  where memories.tenant_id = tenants.id and memories.embedding_model is not null
  group by memories.embedding_model
  order by count(*) desc, memories.embedding_model
  limit 1
);
select private.store_vectors(stored.embedding_model, array_agg(stored.id order by stored.id), array_agg(stored.embedding order by stored.id))
from (
  select memories.tenant_id, memories.id, memories.embedding_model, memories.embedding, sets.dimensions
  from public.memories
  join (
    select
      counted.tenant_id,
      counted.embedding_model,
      coalesce(
        (
          select vector_sets.dimensions
          from private.vector_sets
          where vector_sets.tenant_id = counted.tenant_id and vector_sets.embedding_model = counted.embedding_model
        ),
        mode() within group (order by extensions.vector_dims(counted.embedding))
      ) as dimensions
    from public.memories as counted
    join public.tenants on tenants.id = counted.tenant_id and tenants.memory_embedding_model = counted.embedding_model
    group by counted.tenant_id, counted.embedding_model
  ) as sets on sets.tenant_id = memories.tenant_id and sets.embedding_model = memories.embedding_model
) as stored
where extensions.vector_dims(stored.embedding) = stored.dimensions
group by stored.tenant_id, stored.embedding_model;

alter table public.memories drop column embedding;
update public.memories
set embedding_model = null
where memories.embedding_model is not null
  and not exists (
    select
    from private.search_vectors
    join private.vector_sets on vector_sets.id = search_vectors.vector_set_id and vector_sets.embedding_model = memories.embedding_model
    where search_vectors.item_id = memories.id
  );

alter table public.memories
add column embedding public.memory_embedding generated always as (row(id, embedding_model)::public.memory_embedding) stored,
add column embedding_attempted_at timestamptz;

comment on column public.memories.embedding is
  'Stands for its vector: embedding <=> query is the cosine distance, 1 as long as there is none. The vector itself is for nobody to read: it can be inverted into the text.';
comment on column public.memories.embedding_model is 'Model of its vector, that of the tenant; null until it is embedded.';
comment on column public.memories.embedding_attempted_at is 'When a worker last began to embed it.';

-- With these all columns can be selected, so `select *` works.
grant select (embedding, embedding_attempted_at) on table public.memories to authenticated;

create or replace function private.forget_stale_embedding()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.body <> old.body then
    new.embedding_model := null;
    new.embedding_attempted_at := null;
  end if;
  return new;
end;
$$;

create trigger forget_stale_embedding before update on public.memories for each row execute function private.forget_stale_embedding();
create trigger index_added_memories after insert on public.memories referencing new table as added
for each statement execute function private.index_changed_memories();
create trigger index_changed_memories after update on public.memories referencing old table as removed new table as added
for each statement execute function private.index_changed_memories();
create trigger unindex_removed_memories after delete on public.memories referencing old table as removed
for each statement execute function private.index_changed_memories();

create index memories_unembedded_idx on public.memories (embedding_attempted_at) where embedding_model is null;

create function private.memory_distance(memory public.memory_embedding, query extensions.halfvec)
returns float8
language plpgsql
stable -- and with the caller's rights: who may not read the memory compares with nothing
set search_path = ''
set enable_seqscan = off
as $$
begin
  if query is null then
    return null;
  end if;
  return coalesce(
    (
      select nullif(stored.embedding operator(extensions.<=>) query, 'NaN')
      -- The memory's own vectors first: the sets of all tenants are not looked through.
      from (
        select search_vectors.embedding, search_vectors.vector_set_id
        from private.search_vectors
        where search_vectors.item_id = memory.memory_id
        offset 0
      ) as stored
      join private.vector_sets on vector_sets.id = stored.vector_set_id
      where vector_sets.embedding_model = memory.embedding_model
    ),
    1
  );
end;
$$;

comment on function private.memory_distance(public.memory_embedding, extensions.halfvec) is
  'Cosine distance of a memory''s vector from a query, 0 to 2; 1, unrelated, where there is no vector or none that the caller may compare. Of a query of another length: 22000.';

revoke execute on function private.memory_distance(public.memory_embedding, extensions.halfvec) from public;
grant execute on function private.memory_distance(public.memory_embedding, extensions.halfvec) to authenticated;

-- halfvec, because a vector becomes one by itself and a literal or parameter without a type is read as one.
create operator public.<=> (leftarg = public.memory_embedding, rightarg = extensions.halfvec, function = private.memory_distance);

comment on operator public.<=> (public.memory_embedding, extensions.halfvec) is 'Cosine distance of a memory from a query vector.';
