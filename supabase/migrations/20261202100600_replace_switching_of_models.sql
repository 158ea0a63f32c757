-- Whoever ended a re-embedding, or discarded a model, held what is in a knowledge base before the knowledge base itself. Where that was
-- being deleted, which takes a while, or its tenant was, each came to wait for the other, and one of the two was given up.
create or replace function private.changeable_knowledge_base(knowledge_base_id uuid)
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
    -- Who deletes the tenant or the knowledge base holds it before anything that is in it, and so does who changes that.
    perform
    from public.tenants
    where tenants.id = (
      select knowledge_bases.tenant_id from ai.knowledge_bases where knowledge_bases.id = changeable_knowledge_base.knowledge_base_id
    )
    for key share;
    select knowledge_bases.* into base
    from ai.knowledge_bases
    where knowledge_bases.id = changeable_knowledge_base.knowledge_base_id
    for no key update;
  end if;
  if base.id is null then
    perform private.raise_error(404, 'not_found', 'Knowledge base not found.', 'Check the id.');
  end if;
  return base;
end;
$$;

create or replace function ai.finish_reembedding(reembedding_id uuid, lease_token uuid)
returns text
language plpgsql
set search_path = ''
as $$
declare
  held private.reembeddings;
begin
  perform private.hold_embedding_model(coalesce(reembeddings.knowledge_base_id, reembeddings.tenant_id), true)
  from private.reembeddings
  where reembeddings.id = finish_reembedding.reembedding_id;
  -- Before the lease: who deletes the tenant or the knowledge base holds it before anything of ours.
  perform
  from public.tenants
  where tenants.id = (select reembeddings.tenant_id from private.reembeddings where reembeddings.id = finish_reembedding.reembedding_id)
  for key share;
  perform
  from ai.knowledge_bases
  where knowledge_bases.id = (select reembeddings.knowledge_base_id from private.reembeddings where reembeddings.id = finish_reembedding.reembedding_id)
  for no key update;
  held := private.holds_reembedding_lease(finish_reembedding.reembedding_id, finish_reembedding.lease_token);
  if held.id is null then
    return 'lost';
  end if;
  if held.switches_when_complete then
    return case when private.apply_embedding_model(held.tenant_id, held.knowledge_base_id, held.embedding_model) then 'switched' else 'incomplete' end;
  end if;
  if exists (select from private.items_without_vector(held.tenant_id, held.knowledge_base_id, held.embedding_model, 1)) then
    return 'incomplete';
  end if;
  update private.reembeddings
  set status = 'complete', finished_at = now(), lease_token = null, leased_by = null, lease_expires_at = null
  where reembeddings.id = held.id;
  return 'complete';
end;
$$;
