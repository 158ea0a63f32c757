create function private.items_without_vector(tenant_id uuid, knowledge_base_id uuid, embedding_model text, item_limit int)
returns setof uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted_set constant int := (
    select vector_sets.id
    from private.vector_sets
    where vector_sets.tenant_id = items_without_vector.tenant_id and vector_sets.embedding_model = items_without_vector.embedding_model
  );
begin
  return query
    select items.item_id
    from private.search_segments as segments
    join private.search_lexemes as items on items.tenant_id = segments.tenant_id and items.segment_id = segments.id
    where segments.tenant_id = items_without_vector.tenant_id
      and segments.kind = case when items_without_vector.knowledge_base_id is null then 'memory' else 'chunk' end
      and segments.knowledge_base_id is not distinct from items_without_vector.knowledge_base_id
      and not exists (
        select from private.search_vectors as vectors
        where vectors.item_id = items.item_id and vectors.vector_set_id = wanted_set
      )
    limit item_limit;
end;
$$;

comment on function private.items_without_vector(uuid, uuid, text, int) is
  'At most item_limit chunks of a knowledge base (null: memories of the tenant) that have no vector of a model.';

create function private.apply_embedding_model(tenant_id uuid, knowledge_base_id uuid, embedding_model text)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if exists (
    select from private.items_without_vector(
      apply_embedding_model.tenant_id, apply_embedding_model.knowledge_base_id, apply_embedding_model.embedding_model, 1
    )
  ) then
    return false;
  end if;
  if apply_embedding_model.knowledge_base_id is null then
    update public.memories
    set embedding_model = apply_embedding_model.embedding_model
    where memories.tenant_id = apply_embedding_model.tenant_id
      and memories.embedding_model is distinct from apply_embedding_model.embedding_model;
    update public.tenants
    set
      memory_embedding_model = apply_embedding_model.embedding_model,
      next_memory_embedding_model = nullif(tenants.next_memory_embedding_model, apply_embedding_model.embedding_model)
    where tenants.id = apply_embedding_model.tenant_id;
  else
    update ai.knowledge_bases
    set
      embedding_model = apply_embedding_model.embedding_model,
      next_embedding_model = nullif(knowledge_bases.next_embedding_model, apply_embedding_model.embedding_model)
    where knowledge_bases.tenant_id = apply_embedding_model.tenant_id and knowledge_bases.id = apply_embedding_model.knowledge_base_id;
    update ai.indexed_sources
    set embedding_model = apply_embedding_model.embedding_model
    where indexed_sources.tenant_id = apply_embedding_model.tenant_id
      and indexed_sources.knowledge_base_id = apply_embedding_model.knowledge_base_id
      and indexed_sources.indexed_at is not null
      and indexed_sources.embedding_model is distinct from apply_embedding_model.embedding_model;
  end if;
  update private.reembeddings
  set
    status = 'complete', finished_at = now(), error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  where reembeddings.tenant_id = apply_embedding_model.tenant_id
    and reembeddings.knowledge_base_id is not distinct from apply_embedding_model.knowledge_base_id
    and reembeddings.embedding_model = apply_embedding_model.embedding_model;
  return true;
end;
$$;

comment on function private.apply_embedding_model(uuid, uuid, text) is
  'Lets search compare vectors of another model from the end of this transaction on; false, and nothing happens, while an item lacks one. The caller holds hold_embedding_model() exclusively.';

create function private.check_embedding_model(embedding_model text)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if embedding_model is null or embedding_model !~ '^[[:graph:]]{1,200}$' then
    perform private.raise_error(400, 'invalid_request', 'embedding_model must be the name of a model.', null);
  end if;
end;
$$;

comment on function private.check_embedding_model(text) is 'PT400 unless it can be the name of a model: 1 to 200 visible characters.';

create function private.changeable_knowledge_base(knowledge_base_id uuid)
returns ai.knowledge_bases
language plpgsql
security definer -- takes a lock and the row of it; what the caller may do is asked here
set search_path = ''
as $$
declare
  base ai.knowledge_bases;
begin
  -- Asked before the lock, so that nobody can hold up others' work, and read after it.
  if exists (
    select from ai.knowledge_bases
    where knowledge_bases.id = changeable_knowledge_base.knowledge_base_id
      and knowledge_bases.tenant_id = any (array(select private.caller_tenant_ids()))
  ) then
    if not private.may_change_knowledge_base(changeable_knowledge_base.knowledge_base_id) then
      perform private.raise_error(403, 'forbidden', 'Only its creator and admins may change this knowledge base.', null);
    end if;
    perform private.hold_embedding_model(changeable_knowledge_base.knowledge_base_id, true);
    select knowledge_bases.* into base from ai.knowledge_bases where knowledge_bases.id = changeable_knowledge_base.knowledge_base_id;
  end if;
  if base.id is null then
    perform private.raise_error(404, 'not_found', 'Knowledge base not found.', 'Check the id.');
  end if;
  return base;
end;
$$;

comment on function private.changeable_knowledge_base(uuid) is
  'The knowledge base, held exclusively, if the caller may change its embedding model: who created it and admins. PT404, PT403.';

create function private.request_reembedding(tenant_id uuid, knowledge_base_id uuid, embedding_model text, switch_when_complete boolean)
returns void
language plpgsql
set search_path = ''
as $$
declare
  reembedding_id uuid;
begin
  insert into private.reembeddings (tenant_id, knowledge_base_id, embedding_model, switches_when_complete)
  values (
    request_reembedding.tenant_id, request_reembedding.knowledge_base_id, request_reembedding.embedding_model,
    coalesce(request_reembedding.switch_when_complete, true)
  )
  on conflict on constraint reembeddings_tenant_id_knowledge_base_id_key do update
  set
    embedding_model = excluded.embedding_model, switches_when_complete = excluded.switches_when_complete, status = 'pending',
    error_code = null, reason_code = null, error_message = null, attempts = 0, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null, created_at = now(), finished_at = null
  returning reembeddings.id into reembedding_id;
  perform private.enqueue('reembed_knowledge_base', jsonb_build_object('id', reembedding_id), now(), reembedding_id::text);
end;
$$;

comment on function private.request_reembedding(uuid, uuid, text, boolean) is
  'Queues the embedding of everything that has no vector of a model. Takes the place of an earlier request, whose worker loses its lease.';

create function private.reembed_knowledge_base(knowledge_base_id uuid, embedding_model text, switch_when_complete boolean)
returns void
language plpgsql
security definer -- models are changed through functions only; changeable_knowledge_base() asks what the caller may
set search_path = ''
as $$
declare
  base constant ai.knowledge_bases := private.changeable_knowledge_base(knowledge_base_id);
begin
  perform private.check_embedding_model(reembed_knowledge_base.embedding_model);
  if base.embedding_model = reembed_knowledge_base.embedding_model
    and not exists (select from private.items_without_vector(base.tenant_id, base.id, base.embedding_model, 1))
  then
    perform private.raise_error(409, 'conflict', 'The knowledge base is searched by this model already.', null);
  end if;
  update ai.knowledge_bases set next_embedding_model = reembed_knowledge_base.embedding_model where knowledge_bases.id = base.id;
  perform private.request_reembedding(base.tenant_id, base.id, reembed_knowledge_base.embedding_model, switch_when_complete);
end;
$$;

comment on function private.reembed_knowledge_base(uuid, text, boolean) is 'Core of ai.reembed_knowledge_base().';

create function private.switch_embedding_model(knowledge_base_id uuid, embedding_model text)
returns void
language plpgsql
security definer -- models are changed through functions only; changeable_knowledge_base() asks what the caller may
set search_path = ''
as $$
declare
  base constant ai.knowledge_bases := private.changeable_knowledge_base(knowledge_base_id);
begin
  perform private.check_embedding_model(switch_embedding_model.embedding_model);
  if not private.apply_embedding_model(base.tenant_id, base.id, switch_embedding_model.embedding_model) then
    perform private.raise_error(
      409, 'conflict', 'Some chunks of the knowledge base have no vector of this model.',
      'Call reembed_knowledge_base with it and wait until it is complete.'
    );
  end if;
end;
$$;

comment on function private.switch_embedding_model(uuid, text) is 'Core of ai.switch_embedding_model().';

create function private.discard_embedding_model(knowledge_base_id uuid, embedding_model text)
returns int
language plpgsql
security definer -- vectors are writable by nobody; changeable_knowledge_base() asks what the caller may
set search_path = ''
as $$
declare
  base constant ai.knowledge_bases := private.changeable_knowledge_base(knowledge_base_id);
  removed int;
begin
  if base.embedding_model = discard_embedding_model.embedding_model then
    perform private.raise_error(
      409, 'conflict', 'The knowledge base is searched by this model.', 'Switch it to another one first.'
    );
  end if;
  delete from private.reembeddings
  where reembeddings.tenant_id = base.tenant_id
    and reembeddings.knowledge_base_id = base.id
    and reembeddings.embedding_model = discard_embedding_model.embedding_model;
  update ai.knowledge_bases
  set next_embedding_model = null
  where knowledge_bases.id = base.id and knowledge_bases.next_embedding_model = discard_embedding_model.embedding_model;
  delete from private.search_vectors
  using private.search_segments, private.vector_sets
  where search_segments.tenant_id = base.tenant_id
    and search_segments.knowledge_base_id = base.id
    and vector_sets.tenant_id = base.tenant_id
    and vector_sets.embedding_model = discard_embedding_model.embedding_model
    and search_vectors.segment_id = search_segments.id
    and search_vectors.vector_set_id = vector_sets.id;
  get diagnostics removed = row_count;
  return removed;
end;
$$;

comment on function private.discard_embedding_model(uuid, text) is 'Core of ai.discard_embedding_model().';

create function private.reembed_memories(embedding_model text)
returns void
language plpgsql
security definer -- models are changed through functions only; the caller is asked about here
set search_path = ''
as $$
declare
  acting constant uuid := private.acting_tenant_id();
begin
  if not acting = any (array(select private.caller_tenant_ids('admin'))) then
    perform private.raise_error(403, 'forbidden', 'Only admins may change the embedding model of memories.', null);
  end if;
  perform private.check_embedding_model(reembed_memories.embedding_model);
  perform private.hold_embedding_model(acting, true);
  if exists (select from public.tenants where tenants.id = acting and tenants.memory_embedding_model = reembed_memories.embedding_model) then
    perform private.raise_error(409, 'conflict', 'Memories are searched by this model already.', null);
  end if;
  update public.tenants set next_memory_embedding_model = reembed_memories.embedding_model where tenants.id = acting;
  perform private.request_reembedding(acting, null, reembed_memories.embedding_model, true);
end;
$$;

comment on function private.reembed_memories(text) is 'Core of ai.reembed_memories().';

revoke execute on function private.items_without_vector(uuid, uuid, text, int) from public;
revoke execute on function private.apply_embedding_model(uuid, uuid, text) from public;
revoke execute on function private.check_embedding_model(text) from public;
revoke execute on function private.changeable_knowledge_base(uuid) from public;
revoke execute on function private.request_reembedding(uuid, uuid, text, boolean) from public;
revoke execute on function private.reembed_knowledge_base(uuid, text, boolean) from public;
revoke execute on function private.switch_embedding_model(uuid, text) from public;
revoke execute on function private.discard_embedding_model(uuid, text) from public;
revoke execute on function private.reembed_memories(text) from public;
grant execute on function private.items_without_vector(uuid, uuid, text, int) to service_role;
grant execute on function private.apply_embedding_model(uuid, uuid, text) to service_role;
grant execute on function private.reembed_knowledge_base(uuid, text, boolean) to authenticated;
grant execute on function private.switch_embedding_model(uuid, text) to authenticated;
grant execute on function private.discard_embedding_model(uuid, text) to authenticated;
grant execute on function private.reembed_memories(text) to authenticated;

create function ai.reembed_knowledge_base(knowledge_base_id uuid, embedding_model text, switch_when_complete boolean default true)
returns void
language sql
set search_path = ''
as $$
  select private.reembed_knowledge_base(
    reembed_knowledge_base.knowledge_base_id, reembed_knowledge_base.embedding_model, reembed_knowledge_base.switch_when_complete
  );
$$;

comment on function ai.reembed_knowledge_base(uuid, text, boolean) is
  'Gives every chunk a vector of another embedding model, in the background; search goes on with the present one, then changes over at once (or, without switch_when_complete, when ai.switch_embedding_model() is called). '
  'For its creator and admins. A second call takes the place of the first. PT400, PT403, PT404, PT409.';

create function ai.switch_embedding_model(knowledge_base_id uuid, embedding_model text)
returns void
language sql
set search_path = ''
as $$
  select private.switch_embedding_model(switch_embedding_model.knowledge_base_id, switch_embedding_model.embedding_model);
$$;

comment on function ai.switch_embedding_model(uuid, text) is
  'Lets search compare vectors of another model, atomically; back again the same way, as long as nothing discarded the old vectors. PT409 while a chunk lacks one. For its creator and admins. PT400, PT403, PT404.';

create function ai.discard_embedding_model(knowledge_base_id uuid, embedding_model text)
returns int
language sql
set search_path = ''
as $$
  select private.discard_embedding_model(discard_embedding_model.knowledge_base_id, discard_embedding_model.embedding_model);
$$;

comment on function ai.discard_embedding_model(uuid, text) is
  'Removes the vectors of a model that the knowledge base is not searched by, and stops embedding with it. Returns how many. For its creator and admins. PT403, PT404, PT409 for the model in use.';

create function ai.reembed_memories(embedding_model text)
returns void
language sql
set search_path = ''
as $$
  select private.reembed_memories(reembed_memories.embedding_model);
$$;

comment on function ai.reembed_memories(text) is
  'Gives every memory of the caller''s tenant a vector of another embedding model, in the background; search then changes over at once. For admins. PT400, PT403, PT409.';

-- Types, because a column of a returned table may not have the name of a parameter.
create type ai.reembedding_state as (
  knowledge_base_id uuid,
  embedding_model text,
  status text,
  done_count bigint,
  total_count bigint,
  switches_when_complete boolean,
  error_message text,
  created_at timestamptz,
  finished_at timestamptz
);
create type ai.search_model as (embedding_model text, knowledge_base_ids uuid[]);

comment on type ai.reembedding_state is 'How far the re-embedding of a knowledge base is.';
comment on type ai.search_model is 'An embedding model, and the knowledge bases whose vectors are of it.';

create function ai.reembedding_progress(knowledge_base_id uuid default null)
returns setof ai.reembedding_state
language sql
stable
set search_path = ''
as $$
  select
    reembeddings.knowledge_base_id,
    reembeddings.embedding_model,
    reembeddings.status,
    (
      select count(*)
      from private.search_segments
      join private.search_vectors on search_vectors.segment_id = search_segments.id
      join private.vector_sets
        on vector_sets.id = search_vectors.vector_set_id and vector_sets.embedding_model = reembeddings.embedding_model
      where search_segments.tenant_id = reembeddings.tenant_id
        and search_segments.kind = case when reembeddings.knowledge_base_id is null then 'memory' else 'chunk' end
        and search_segments.knowledge_base_id is not distinct from reembeddings.knowledge_base_id
    ),
    (
      select coalesce(sum(search_segments.item_count), 0)
      from private.search_segments
      where search_segments.tenant_id = reembeddings.tenant_id
        and search_segments.kind = case when reembeddings.knowledge_base_id is null then 'memory' else 'chunk' end
        and search_segments.knowledge_base_id is not distinct from reembeddings.knowledge_base_id
    ),
    reembeddings.switches_when_complete,
    reembeddings.error_message,
    reembeddings.created_at,
    reembeddings.finished_at
  from private.reembeddings
  where reembedding_progress.knowledge_base_id is null or reembeddings.knowledge_base_id = reembedding_progress.knowledge_base_id
  order by reembeddings.created_at desc, reembeddings.id;
$$;

comment on function ai.reembedding_progress(uuid) is
  'The last re-embedding of each knowledge base the caller can see, and of the memories (knowledge_base_id null): status pending, running, complete or failed with its reason, and how many of the items that the caller may see have their vector.';

create function ai.search_models(knowledge_base_ids uuid[] default null)
returns setof ai.search_model
language sql
stable
set search_path = ''
as $$
  select knowledge_bases.embedding_model, array_agg(knowledge_bases.id order by knowledge_bases.id)
  from ai.knowledge_bases
  where search_models.knowledge_base_ids is null or knowledge_bases.id = any (search_models.knowledge_base_ids)
  group by knowledge_bases.embedding_model
  order by knowledge_bases.embedding_model;
$$;

comment on function ai.search_models(uuid[]) is
  'The models to embed a query with: one row per model among the knowledge bases that the caller can see (and names), with those it is for. Null model: nothing is embedded there yet.';

revoke execute on function ai.reembed_knowledge_base(uuid, text, boolean) from public, anon, authenticated, service_role;
revoke execute on function ai.switch_embedding_model(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function ai.discard_embedding_model(uuid, text) from public, anon, authenticated, service_role;
revoke execute on function ai.reembed_memories(text) from public, anon, authenticated, service_role;
revoke execute on function ai.reembedding_progress(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.search_models(uuid[]) from public, anon, authenticated, service_role;
grant execute on function ai.reembed_knowledge_base(uuid, text, boolean) to authenticated;
grant execute on function ai.switch_embedding_model(uuid, text) to authenticated;
grant execute on function ai.discard_embedding_model(uuid, text) to authenticated;
grant execute on function ai.reembed_memories(text) to authenticated;
grant execute on function ai.reembedding_progress(uuid) to authenticated;
grant execute on function ai.search_models(uuid[]) to authenticated;
