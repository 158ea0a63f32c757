create table private.vector_sets (
  id int primary key generated always as identity,
  tenant_id uuid not null,
  embedding_model text not null,
  dimensions int not null,
  item_count int not null default 0,
  shared_count int not null default 0,
  graph_state text not null default 'none',
  graph_table text,
  graph_changed_at timestamptz not null default now(),
  constraint vector_sets_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint vector_sets_tenant_id_id_key unique (tenant_id, id),
  constraint vector_sets_tenant_id_embedding_model_key unique (tenant_id, embedding_model),
  constraint vector_sets_dimensions_fit check (dimensions between 1 and 16000),
  constraint vector_sets_counts_are_no_debts check (item_count >= 0 and shared_count between 0 and item_count),
  constraint vector_sets_graph_state_is_known check (graph_state in ('none', 'building', 'ready', 'retired')),
  constraint vector_sets_graph_has_a_table check ((graph_state = 'none') = (graph_table is null))
);

comment on table private.vector_sets is 'All vectors of one embedding model in one tenant. Vectors are compared inside a set only, so two models never meet.';
comment on column private.vector_sets.shared_count is 'How many of them are chunks that the whole tenant sees: what its graph holds.';
comment on column private.vector_sets.graph_state is
  'none: searched exactly. building: a graph is being made, searched exactly meanwhile. ready: searched by the graph. retired: exactly again, the table goes at the next maintenance.';
comment on column private.vector_sets.graph_table is 'Table in schema private that holds a copy of the set and its HNSW graph.';

alter table private.vector_sets enable row level security;
alter table private.vector_sets force row level security;
revoke all on table private.vector_sets from anon, authenticated, service_role;
grant select on table private.vector_sets to authenticated, service_role;

create policy "members see the vector sets of their tenants" on private.vector_sets
for select to authenticated
using (tenant_id = any ((select private.caller_tenants())::uuid[]));

create trigger refuse_tenant_change before update on private.vector_sets for each row execute function private.refuse_tenant_change();

create table private.search_vectors (
  item_id uuid not null,
  vector_set_id int not null,
  segment_id int not null,
  tenant_id uuid not null,
  source_id uuid,
  is_shared boolean not null,
  embedding extensions.halfvec not null,
  constraint search_vectors_pkey primary key (item_id, vector_set_id),
  constraint search_vectors_vector_set_fkey foreign key (tenant_id, vector_set_id) references private.vector_sets (tenant_id, id) on delete cascade,
  constraint search_vectors_segment_fkey foreign key (tenant_id, segment_id) references private.search_segments (tenant_id, id) on delete cascade
)
with (toast_tuple_target = 8160);
alter table private.search_vectors alter column embedding set storage external;

comment on table private.search_vectors is 'Embeddings of chunks and memories, complete for every set; what a graph holds is a copy. Not selectable through the Data API.';
comment on column private.search_vectors.is_shared is
  'Whether it is a chunk that the whole tenant sees. Others are never in a graph: walking past what the caller may not see would show in the time it takes.';
comment on column private.search_vectors.embedding is 'Of unit length, so that the inner product is the cosine; zero where the provider gave none.';

create index search_vectors_segment_id_idx on private.search_vectors (segment_id, vector_set_id);
create index search_vectors_vector_set_id_idx on private.search_vectors (vector_set_id, segment_id, source_id);

alter table private.search_vectors enable row level security;
alter table private.search_vectors force row level security;
revoke all on table private.search_vectors from anon, authenticated, service_role;
grant select on table private.search_vectors to authenticated, service_role;

create policy "people compare vectors in their segments" on private.search_vectors
for select to authenticated
using (segment_id = any ((select private.caller_segment_ids())::int[]));

create function private.unit_vector(embedding extensions.vector)
returns extensions.halfvec
language plpgsql
immutable
set search_path = ''
as $$
begin
  return extensions.l2_normalize(embedding)::extensions.halfvec;
end;
$$;

comment on function private.unit_vector(extensions.vector) is 'The direction of a vector in half precision; the zero vector stays zero.';

create function private.keep_vector_sets()
returns trigger
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
declare
  changes constant text := case tg_op
    when 'INSERT' then 'select vector_set_id, is_shared, 1 as change from added'
    when 'DELETE' then 'select vector_set_id, is_shared, -1 as change from removed'
    else 'select vector_set_id, is_shared, 1 as change from added union all select vector_set_id, is_shared, -1 from removed'
  end;
  touched record;
  vector_set private.vector_sets;
begin
  for touched in execute
    'select vector_set_id as id, sum(change) as items, sum(change) filter (where is_shared) as shared '
    'from (' || changes || ') as changes group by vector_set_id order by vector_set_id'
  loop
    -- The row of the set is locked before its graph is touched: who builds or retires the graph holds the same lock.
    update private.vector_sets
    set item_count = vector_sets.item_count + touched.items, shared_count = vector_sets.shared_count + coalesce(touched.shared, 0)
    where vector_sets.id = touched.id
    returning * into vector_set;
    continue when vector_set.graph_state is distinct from 'ready';
    if tg_op <> 'INSERT' then
      execute format(
        'delete from private.%I as graph using removed where removed.vector_set_id = $1 and graph.item_id = removed.item_id', vector_set.graph_table
      ) using touched.id;
    end if;
    if tg_op <> 'DELETE' then
      execute format(
        'insert into private.%I (item_id, segment_id, embedding) '
        'select added.item_id, added.segment_id, added.embedding from added where added.vector_set_id = $1 and added.is_shared', vector_set.graph_table
      ) using touched.id;
    end if;
  end loop;
  return null;
end;
$$;

comment on function private.keep_vector_sets() is 'Trigger: keeps the counts of vector_sets, and the graph of each set that has one, equal to search_vectors.';

revoke execute on function private.keep_vector_sets() from public;

create trigger keep_sets_of_added_vectors after insert on private.search_vectors referencing new table as added
for each statement execute function private.keep_vector_sets();
create trigger keep_sets_of_removed_vectors after delete on private.search_vectors referencing old table as removed
for each statement execute function private.keep_vector_sets();
create trigger keep_sets_of_changed_vectors after update on private.search_vectors referencing old table as removed new table as added
for each statement execute function private.keep_vector_sets();

create function private.store_vectors(embedding_model text, item_ids uuid[], embeddings extensions.vector[])
returns int
language plpgsql
security definer -- the index is writable by nobody
set search_path = ''
as $$
declare
  stored int;
begin
  if cardinality(item_ids) <> cardinality(embeddings) then
    raise exception '% items and % vectors', cardinality(item_ids), cardinality(embeddings) using errcode = '22023';
  end if;

  insert into private.vector_sets (tenant_id, embedding_model, dimensions)
  select distinct on (search_lexemes.tenant_id)
    search_lexemes.tenant_id, store_vectors.embedding_model, extensions.vector_dims(given.embedding)
  from unnest(item_ids, embeddings) as given (item_id, embedding)
  join private.search_lexemes on search_lexemes.item_id = given.item_id
  order by search_lexemes.tenant_id
  on conflict on constraint vector_sets_tenant_id_embedding_model_key do nothing;

  if exists (
    select
    from unnest(item_ids, embeddings) as given (item_id, embedding)
    join private.search_lexemes on search_lexemes.item_id = given.item_id
    join private.vector_sets
      on vector_sets.tenant_id = search_lexemes.tenant_id and vector_sets.embedding_model = store_vectors.embedding_model
    where vector_sets.dimensions <> extensions.vector_dims(given.embedding)
  ) then
    raise exception 'a vector of % has another length than the others of this model', embedding_model using errcode = '22023';
  end if;

  insert into private.search_vectors (item_id, vector_set_id, segment_id, tenant_id, source_id, is_shared, embedding)
  select
    search_lexemes.item_id, vector_sets.id, search_lexemes.segment_id, search_lexemes.tenant_id, search_lexemes.source_id,
    search_segments.kind = 'chunk' and search_segments.visibility = 'tenant', private.unit_vector(given.embedding)
  from unnest(item_ids, embeddings) as given (item_id, embedding)
  join private.search_lexemes on search_lexemes.item_id = given.item_id
  join private.search_segments on search_segments.id = search_lexemes.segment_id
  join private.vector_sets
    on vector_sets.tenant_id = search_lexemes.tenant_id and vector_sets.embedding_model = store_vectors.embedding_model
  on conflict on constraint search_vectors_pkey do update
    set embedding = excluded.embedding, segment_id = excluded.segment_id, is_shared = excluded.is_shared;
  get diagnostics stored = row_count;
  return stored;
end;
$$;

comment on function private.store_vectors(text, uuid[], extensions.vector[]) is
  'Stores one vector per item that is in the index, replacing an older one of the same model; items that are gone meanwhile are left out. Returns how many were stored. 22023 for vectors of unequal length.';

revoke execute on function private.unit_vector(extensions.vector) from public;
revoke execute on function private.store_vectors(text, uuid[], extensions.vector[]) from public;
grant execute on function private.unit_vector(extensions.vector) to authenticated, service_role;
grant execute on function private.store_vectors(text, uuid[], extensions.vector[]) to service_role;
