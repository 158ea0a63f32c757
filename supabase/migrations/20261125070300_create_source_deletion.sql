-- What goes when a source is deleted, of what the caller can see: it counts with the caller's own rights.

create function ai.source_deletion(source_id uuid)
returns table (
  name text, size_bytes bigint, can_delete boolean, pages bigint, chunks bigint, knowledge_bases jsonb, grants bigint, citations bigint
)
language plpgsql
stable
security invoker -- the policies say what there is for the caller
set search_path = ''
rows 1
as $$
#variable_conflict use_column
declare
  source record;
begin
  select sources.id, sources.tenant_id, sources.name, sources.size_bytes, sources.owner_id into source
  from ai.sources
  where sources.id = source_deletion.source_id;
  if source.id is null then
    perform private.raise_error(404, 'not_found', 'Source not found.', 'Check its id.');
  end if;
  return query
    select
      source.name, source.size_bytes,
      -- Of what one sees, one deletes what is one's own, and as an admin the rest: the policies for delete on ai.sources.
      source.tenant_id = any (array(select private.caller_tenant_ids('member')))
        and (
          source.owner_id is not distinct from (select auth.uid())
          or source.tenant_id = any (array(select private.caller_tenant_ids('admin')))
        ),
      (select count(*) from ai.source_pages where source_pages.tenant_id = source.tenant_id and source_pages.source_id = source.id),
      (select count(*) from ai.chunks where chunks.tenant_id = source.tenant_id and chunks.source_id = source.id),
      coalesce(
        (
          select jsonb_agg(jsonb_build_object('id', knowledge_bases.id, 'name', knowledge_bases.name) order by knowledge_bases.name, knowledge_bases.id)
          from ai.indexed_sources
          join ai.knowledge_bases
            on knowledge_bases.tenant_id = indexed_sources.tenant_id and knowledge_bases.id = indexed_sources.knowledge_base_id
          where indexed_sources.tenant_id = source.tenant_id and indexed_sources.source_id = source.id
        ),
        '[]'
      ),
      (select count(*) from ai.source_grants where source_grants.tenant_id = source.tenant_id and source_grants.source_id = source.id),
      (select count(*) from ai.message_citations where message_citations.tenant_id = source.tenant_id and message_citations.source_id = source.id);
end;
$$;

comment on function ai.source_deletion(uuid) is
  'What goes with a source the caller can see: its pages, chunks and grants, its places in knowledge_bases [{id, name}]. citations counts those in the caller''s own answers; they stay, with '
  'their excerpt, and lose the link. can_delete: whether the caller may. PT404 for a source the caller cannot see.';

revoke execute on function ai.source_deletion(uuid) from public, anon, authenticated, service_role;
grant execute on function ai.source_deletion(uuid) to authenticated;
