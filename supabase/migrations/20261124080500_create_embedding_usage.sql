-- What indexing has embedded is usage too. It is written with the vectors, so that no executor can forget it.
create function private.record_embedding_usage()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  insert into ai.usage_entries (tenant_id, user_id, kind, model, prompt_tokens, total_tokens, is_estimate)
  select staged.tenant_id, sources.owner_id, 'embedding', staged.embedding_model, sum(staged.tokens), sum(staged.tokens), true
  from staged
  join ai.indexed_sources on indexed_sources.tenant_id = staged.tenant_id and indexed_sources.id = staged.indexed_source_id
  join ai.sources on sources.tenant_id = indexed_sources.tenant_id and sources.id = indexed_sources.source_id
  group by staged.tenant_id, sources.owner_id, staged.embedding_model;
  return null;
end;
$$;

comment on function private.record_embedding_usage() is
  'Trigger: writes the tokens of chunks that were embedded as usage of the source''s owner. Counted by our own measure of tokens: embedding models report none that we keep.';

revoke execute on function private.record_embedding_usage() from public, anon, authenticated, service_role;

create trigger record_usage_of_new after insert on private.staged_chunks
referencing new table as staged for each statement execute function private.record_embedding_usage();
create trigger record_usage_of_again after update on private.staged_chunks
referencing new table as staged for each statement execute function private.record_embedding_usage();
