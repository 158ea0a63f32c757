-- How long the vectors of a model are was decided by the first that a tenant had of it, for good: one bad answer of a provider,
-- discarded since, or another server behind the same name, and no vector of that model could be stored again. It is decided anew
-- when there are none.
create or replace function private.store_vectors(embedding_model text, item_ids uuid[], embeddings extensions.vector[])
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

  update private.vector_sets
  set dimensions = extensions.vector_dims(given.embedding)
  from unnest(item_ids, embeddings) as given (item_id, embedding)
  join private.search_lexemes on search_lexemes.item_id = given.item_id
  where vector_sets.tenant_id = search_lexemes.tenant_id
    and vector_sets.embedding_model = store_vectors.embedding_model
    and vector_sets.item_count = 0
    and vector_sets.graph_state = 'none'
    and vector_sets.dimensions <> extensions.vector_dims(given.embedding);

  loop
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
    -- Looked at again when they are counted: from then on nobody else decides.
    exit when stored is not null;

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
  end loop;
  return stored;
end;
$$;
