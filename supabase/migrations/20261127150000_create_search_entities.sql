-- The graph of a knowledge base of the strategy graph_index: what its passages speak of. Two passages that speak of the same
-- thing are neighbours. It hangs on the index of words, row by row: what is indexed, moved to other readers or removed there is
-- so here, in the same transaction. Keyed by segment, as the rest of the index is, so that neither a result nor the work for it
-- depends on what the caller may not see.
create table private.search_entities (
  tenant_id uuid not null,
  chunk_id uuid not null,
  segment_id int not null,
  name_key text collate "C" not null,
  name text not null,
  -- Not with the tenant first: then it could serve a look-up by name, at the cost of all chunks of the tenant.
  constraint search_entities_pkey primary key (chunk_id, name_key),
  constraint search_entities_chunk_fkey foreign key (tenant_id, chunk_id) references ai.chunks (tenant_id, id) on delete cascade,
  constraint search_entities_segment_fkey foreign key (tenant_id, segment_id) references private.search_segments (tenant_id, id) on delete cascade,
  constraint search_entities_name_key_has_a_length check (char_length(name_key) between 1 and 200),
  constraint search_entities_name_has_a_length check (char_length(name) between 1 and 200)
);

comment on table private.search_entities is
  'Entities that chunks name, by meta.entities: the graph of strategy graph_index. Written by a trigger; whoever can read the chunk can read them.';
comment on column private.search_entities.segment_id is 'As in search_lexemes.';
comment on column private.search_entities.name_key is 'private.entity_key(name): entities are the same if this is.';
comment on column private.search_entities.name is 'As the chunk has it.';

create index search_entities_segment_id_name_key_idx on private.search_entities (segment_id, name_key);

alter table private.search_entities enable row level security;
alter table private.search_entities force row level security;
revoke all on table private.search_entities from anon, authenticated, service_role;
grant select on table private.search_entities to authenticated, service_role;

create policy "readers of a chunk read its entities" on private.search_entities
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.chunks where chunks.id = search_entities.chunk_id)
);

create function private.entity_key(name text)
returns text
language sql
immutable
set search_path = ''
as $$
  -- A collation of the server's own: the same on every system.
  select btrim(regexp_replace(lower(normalize(name, NFKC) collate pg_catalog.pg_c_utf8), '\s+', ' ', 'g'));
$$;

comment on function private.entity_key(text) is 'What two spellings of a name have in common: compatibility forms unified (NFKC), lower case, one blank between words.';

create function private.entities_of(meta jsonb)
returns table (name_key text, name text)
language sql
immutable
rows 10
set search_path = ''
as $$
  select distinct on (keyed.name_key) keyed.name_key, listed.name
  from (
    select element #>> '{}' as name, place
    from jsonb_array_elements(case when jsonb_typeof(meta -> 'entities') = 'array' then meta -> 'entities' else '[]' end)
      with ordinality as elements (element, place)
    where jsonb_typeof(element) = 'string'
    order by place
    limit 32
  ) as listed
  cross join lateral private.entity_key(left(listed.name, 201)) as keyed (name_key)
  where char_length(listed.name) <= 200 and char_length(keyed.name_key) between 1 and 200
  order by keyed.name_key, listed.place;
$$;

comment on function private.entities_of(jsonb) is 'The entities in meta.entities of a chunk: the first 32 that are texts of 1 to 200 characters, each once.';

create function private.index_entities()
returns trigger
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
begin
  -- A chunk that is indexed anew has entities of before.
  delete from private.search_entities
  using added
  where search_entities.chunk_id = added.item_id;

  insert into private.search_entities (tenant_id, chunk_id, segment_id, name_key, name)
  select added.tenant_id, added.item_id, added.segment_id, entities.name_key, entities.name
  from added
  join ai.chunks on chunks.id = added.item_id
  cross join lateral private.entities_of(chunks.meta) as entities
  where chunks.meta ? 'entities';
  return null;
end;
$$;

comment on function private.index_entities() is 'Trigger: the entities of a chunk are where its words are, in the same transaction.';

create trigger index_entities_of_added
after insert on private.search_lexemes
referencing new table as added
for each statement execute function private.index_entities();

revoke execute on function private.entity_key(text), private.entities_of(jsonb), private.index_entities()
from public, anon, authenticated, service_role;
