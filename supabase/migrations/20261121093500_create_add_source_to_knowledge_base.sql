create function private.add_source_to_knowledge_base(knowledge_base_id uuid, source_id uuid)
returns jsonb
language plpgsql
security definer -- the state of indexing is written through functions only; the wrapper has asked the caller's own policies
set search_path = ''
as $$
declare
  source ai.sources;
  indexed ai.indexed_sources;
begin
  select * into source
  from ai.sources
  where sources.id = add_source_to_knowledge_base.source_id
    and sources.tenant_id = any (array(select private.caller_tenant_ids('member')))
  for share;
  if source.id is null then
    perform private.raise_error(404, 'not_found', 'Knowledge base or source not found.', 'Check both ids.');
  end if;
  if source.extraction_status <> 'extracted' then
    perform private.raise_error(
      400, 'source_not_extracted', format('Source must be extracted first (status: %s)', source.extraction_status),
      'Wait until extraction_status is extracted.'
    );
  end if;
  insert into ai.indexed_sources (tenant_id, knowledge_base_id, source_id)
  values (source.tenant_id, add_source_to_knowledge_base.knowledge_base_id, source.id)
  on conflict on constraint indexed_sources_knowledge_base_id_source_id_key do update
  set
    index_status = 'pending', attempts = 0, error_code = null, reason_code = null, error_message = null, next_retry_at = null,
    lease_token = null, leased_by = null, lease_expires_at = null
  returning * into indexed;
  perform private.index_job(indexed.id);
  select * into indexed from ai.indexed_sources where indexed_sources.id = indexed.id;
  return to_jsonb(indexed) - array['lease_token', 'leased_by', 'lease_expires_at'] || jsonb_build_object('source_name', source.name);
end;
$$;

comment on function private.add_source_to_knowledge_base(uuid, uuid) is 'Core of ai.add_source_to_knowledge_base(), which checks the caller.';

create function ai.add_source_to_knowledge_base(knowledge_base_id uuid, source_id uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  -- Under the caller's own row-level security; a knowledge base and a source of two tenants cannot meet.
  if not exists (
    select
    from ai.knowledge_bases
    join ai.sources on sources.tenant_id = knowledge_bases.tenant_id
    where knowledge_bases.id = add_source_to_knowledge_base.knowledge_base_id
      and sources.id = add_source_to_knowledge_base.source_id
      and knowledge_bases.tenant_id = any (array(select private.caller_tenant_ids('member')))
  ) then
    perform private.raise_error(404, 'not_found', 'Knowledge base or source not found.', 'Check both ids.');
  end if;
  return private.add_source_to_knowledge_base(knowledge_base_id, source_id);
end;
$$;

comment on function ai.add_source_to_knowledge_base(uuid, uuid) is
  'Puts an extracted source into a knowledge base and queues its indexing in the same transaction; again: indexes it anew. '
  'Returns the indexed source with source_name. PT400 source_not_extracted, PT404.';

revoke execute on function private.add_source_to_knowledge_base(uuid, uuid) from public;
revoke execute on function ai.add_source_to_knowledge_base(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.add_source_to_knowledge_base(uuid, uuid) to authenticated;
grant execute on function ai.add_source_to_knowledge_base(uuid, uuid) to authenticated;
