-- Who registers a source says whether it can wait for what else their tenant has queued. Callers that say nothing are called as before.
drop function ai.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb);
drop function private.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb);

create function private.register_source(
  name text,
  file_type text,
  mime_type text,
  size_bytes bigint,
  content_hash text,
  visibility text,
  metadata jsonb,
  knowledge_base_ids uuid[],
  origin jsonb,
  priority text
)
returns jsonb
language plpgsql
security definer -- the state of a source is written through these functions only
set search_path = ''
as $$
declare
  tenant uuid := private.acting_tenant_id();
  caller uuid := private.caller_user_id();
  safe_name text := btrim(regexp_replace(translate(register_source.name, '/\', '__'), '[[:cntrl:]]', '', 'g'));
  key_name text;
  source ai.sources;
  twin ai.sources;
  wanted uuid[] := array(select distinct unnest(coalesce(register_source.knowledge_base_ids, '{}')));
begin
  if not tenant = any (array(select private.caller_tenant_ids('member'))) then
    perform private.raise_error(403, 'forbidden', 'Your role in this tenant does not allow uploads.', 'Ask an admin to make you a member.');
  end if;
  if coalesce(safe_name, '') = '' or char_length(safe_name) > 255 or safe_name in ('.', '..') then
    perform private.raise_error(400, 'invalid_request', 'The file needs a name of 1 to 255 characters.', 'Send another name.');
  end if;
  if coalesce(register_source.file_type, '') !~ '^\.[A-Za-z0-9]{1,16}$' then
    perform private.raise_error(400, 'invalid_request', 'file_type must be an extension like .pdf.', 'Send the extension of the file''s name.');
  end if;
  if char_length(coalesce(register_source.mime_type, '')) not between 1 and 255 then
    perform private.raise_error(400, 'invalid_request', 'mime_type must have 1 to 255 characters.', null);
  end if;
  if register_source.size_bytes is null or register_source.size_bytes <= 0 then
    perform private.raise_error(400, 'empty_document', 'The file is empty.', 'Send a file with at least one byte.');
  end if;
  if lower(coalesce(register_source.content_hash, '')) !~ '^[0-9a-f]{64}$' then
    perform private.raise_error(400, 'invalid_request', 'content_hash must be a SHA-256 in 64 hex digits.', 'Hash the raw bytes of the file.');
  end if;
  if register_source.visibility is null or register_source.visibility not in ('tenant', 'private', 'granted') then
    perform private.raise_error(400, 'invalid_request', 'visibility must be tenant, private or granted.', null);
  end if;
  if jsonb_typeof(coalesce(register_source.metadata, '{}')) <> 'object' or pg_column_size(register_source.metadata) > 65536 then
    perform private.raise_error(400, 'invalid_request', 'metadata must be a JSON object of at most 64 KiB.', null);
  end if;
  if exists (
    select from jsonb_each(coalesce(register_source.origin, '{}')) as entry (key, value)
    where entry.key not in ('source_type', 'origin_url', 'origin_path')
      or jsonb_typeof(entry.value) <> 'string' or char_length(entry.value #>> '{}') > 2048
  ) then
    perform private.raise_error(
      400, 'invalid_request', 'origin may have the texts source_type, origin_url and origin_path.', 'Put everything else into metadata.'
    );
  end if;
  if register_source.priority not in ('normal', 'low') then
    perform private.raise_error(400, 'invalid_request', 'priority must be normal or low.', 'Nothing comes before normal.');
  end if;
  if (
    select count(*) from ai.knowledge_bases where knowledge_bases.tenant_id = tenant and knowledge_bases.id = any (wanted)
  ) <> cardinality(wanted) then
    perform private.raise_error(404, 'not_found', 'Knowledge base not found.', 'Check knowledge_base_ids.');
  end if;

  -- Object stores differ in what a key may hold; the name itself stays in `name`.
  key_name := right(regexp_replace(safe_name, '[^A-Za-z0-9._-]+', '_', 'g'), 100);
  if key_name in ('', '.', '..') then
    key_name := 'file';
  end if;

  -- An upload that was announced and never sent must not block its bytes: the caller's own for a minute, others' for an hour.
  delete from ai.sources
  where sources.tenant_id = tenant
    and sources.content_hash = lower(register_source.content_hash)
    and sources.uploaded_at is null
    and (
      sources.created_at < now() - interval '1 hour'
      or (sources.owner_id is not distinct from caller and sources.created_at < now() - interval '60 seconds')
    );

  source.id := gen_random_uuid();
  insert into ai.sources (
    id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, metadata,
    auto_metadata, priority
  )
  values (
    source.id, tenant, caller, safe_name, lower(register_source.file_type), register_source.mime_type, register_source.size_bytes,
    lower(register_source.content_hash), tenant || '/' || source.id || '/' || key_name, register_source.visibility,
    coalesce(register_source.metadata, '{}'), coalesce(register_source.origin, '{}'), coalesce(register_source.priority, 'normal')
  )
  on conflict do nothing
  returning * into source;

  if not found then
    select * into twin
    from ai.sources
    where sources.tenant_id = tenant
      and sources.content_hash = lower(register_source.content_hash)
      and case
        when register_source.visibility = 'tenant' then sources.visibility = 'tenant'
        else sources.visibility <> 'tenant' and sources.owner_id is not distinct from caller
      end;
    perform private.raise_error(
      409, 'duplicate_source', 'These bytes have been uploaded already.', 'Use the source named in duplicate, or delete it first.',
      jsonb_build_object(
        'duplicate',
        jsonb_build_object(
          'id', twin.id, 'name', twin.name, 'file_type', twin.file_type, 'extraction_status', twin.extraction_status,
          'created_at', twin.created_at
        )
      )
    );
  end if;

  if caller is not null then
    insert into public.documents (tenant_id, source_id, owner_id, title) values (tenant, source.id, caller, safe_name);
  end if;
  insert into ai.indexed_sources (tenant_id, knowledge_base_id, source_id)
  select tenant, ids.id, source.id from unnest(wanted) as ids (id);

  return private.source_json(source);
end;
$$;

comment on function private.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) is 'Core of ai.register_source().';

create function ai.register_source(
  name text,
  file_type text,
  mime_type text,
  size_bytes bigint,
  content_hash text,
  visibility text default 'tenant',
  metadata jsonb default '{}',
  knowledge_base_ids uuid[] default null,
  origin jsonb default null,
  priority text default 'normal'
)
returns jsonb
language sql
set search_path = ''
as $$
  select private.register_source(name, file_type, mime_type, size_bytes, content_hash, visibility, metadata, knowledge_base_ids, origin, priority);
$$;

comment on function ai.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) is
  'Announces a file before its bytes are sent: makes the source (pending, owned by the caller) and its object key. It is extracted after complete_upload(), '
  'and then indexed in knowledge_base_ids. size_bytes in bytes, content_hash SHA-256 in hex. origin: {"source_type", "origin_url", "origin_path"}, '
  'where it was imported from; kept in auto_metadata. priority: normal, or low to be read and indexed after what else the tenant has waiting. Returns the source. '
  'PT409 duplicate_source (detail.duplicate), PT404 for a knowledge base, PT403 for viewers, PT400 invalid_request or tenant_required.';

revoke execute on function private.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) from public, anon, authenticated, service_role;
revoke execute on function ai.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) from public, anon, authenticated, service_role;
grant execute on function private.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) to authenticated;
grant execute on function ai.register_source(text, text, text, bigint, text, text, jsonb, uuid[], jsonb, text) to authenticated;
