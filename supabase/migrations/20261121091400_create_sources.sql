create table ai.sources (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  owner_id uuid,
  name text not null,
  file_type text not null,
  mime_type text not null,
  size_bytes bigint not null,
  content_hash text not null,
  storage_path text not null,
  visibility text not null default 'tenant',
  allowed_principals uuid[] not null default '{}',
  extraction_status text not null default 'pending',
  error_code text,
  reason_code text,
  error_message text,
  attempts int not null default 0,
  next_retry_at timestamptz,
  uploaded_at timestamptz,
  extracted_at timestamptz,
  page_count int,
  metadata jsonb not null default '{}',
  auto_metadata jsonb not null default '{}',
  derivatives jsonb not null default '{}',
  celery_task_id text,
  lease_token uuid,
  leased_by text,
  lease_expires_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint sources_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint sources_owner_id_fkey foreign key (owner_id) references auth.users (id) on delete set null,
  -- Target of composite foreign keys: a chunk can never sit under another tenant's source.
  constraint sources_tenant_id_id_key unique (tenant_id, id),
  constraint sources_storage_path_key unique (storage_path),
  constraint sources_storage_path_is_ours check (starts_with(storage_path, tenant_id::text || '/' || id::text || '/')),
  constraint sources_name_has_a_length check (char_length(name) between 1 and 255),
  -- It ends up in headers and in people's download folders.
  constraint sources_name_is_no_path check (name !~ '[[:cntrl:]/\\]' and name not in ('.', '..')),
  constraint sources_size_bytes_is_positive check (size_bytes > 0),
  constraint sources_content_hash_is_sha256 check (content_hash ~ '^[0-9a-f]{64}$'),
  constraint sources_visibility_is_known check (visibility in ('tenant', 'private', 'granted')),
  constraint sources_extraction_status_is_known check (
    extraction_status in ('pending', 'extracting', 'extracted', 'attention_required', 'failed', 'cancelled')
  ),
  constraint sources_error_code_is_known check (
    error_code in ('rate_limited', 'transient', 'timeout', 'permanent', 'no_content', 'internal')
  ),
  constraint sources_failure_has_a_reason check (
    extraction_status not in ('failed', 'attention_required') or (error_code is not null and error_message is not null)
  ),
  constraint sources_lease_matches_status check ((extraction_status = 'extracting') = (lease_token is not null)),
  constraint sources_extracted_at_matches_status check ((extraction_status = 'extracted') = (extracted_at is not null)),
  constraint sources_metadata_is_an_object check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536)
);

comment on table ai.sources is
  'A document a tenant has submitted. The row comes first, the bytes (in object storage) follow, the text is extracted by the worker.';
comment on column ai.sources.owner_id is 'The person it belongs to; null when a trusted backend uploaded it and nobody has claimed it through public.documents.';
comment on column ai.sources.content_hash is 'SHA-256 of the raw bytes, hex. Checked again by the worker before it reads them.';
comment on column ai.sources.storage_path is 'Object key, always {tenant}/{source}/{name}; made by the database.';
comment on column ai.sources.visibility is 'tenant: every member; private: the owner; granted: the owner and whom source_grants names.';
comment on column ai.sources.allowed_principals is 'Users and groups of source_grants, kept here so that policies are answered from the row.';
comment on column ai.sources.error_code is 'Class of the failure: rate_limited, transient and timeout may be retried; permanent, no_content and internal not.';
comment on column ai.sources.reason_code is 'What exactly was wrong, e.g. encrypted_document; docs/errors.md lists them.';
comment on column ai.sources.error_message is 'The reason in a sentence for a person.';
comment on column ai.sources.attempts is 'How often extraction was begun.';
comment on column ai.sources.uploaded_at is 'When the bytes were verified; null while they are awaited.';
comment on column ai.sources.celery_task_id is 'Id of the latest extraction job; the name is that of the agent API.';
comment on column ai.sources.lease_token is 'Fencing token of the worker that is extracting; every write of its must carry it.';

alter table ai.sources enable row level security;
alter table ai.sources force row level security;
revoke all on table ai.sources from anon, authenticated, service_role;
grant select (
  id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status,
  error_code, reason_code, error_message, attempts, next_retry_at, uploaded_at, extracted_at, page_count, metadata,
  auto_metadata, derivatives, celery_task_id, created_at, updated_at
) on table ai.sources to authenticated;
grant update (name, metadata, visibility) on table ai.sources to authenticated;
grant delete on table ai.sources to authenticated;
grant select, insert, update, delete on table ai.sources to service_role;

-- Isolation is restrictive: whatever permissive policies an app adds or replaces (the cookbook drops auth_read_sources),
-- no row leaves the tenant.
create policy "sources stay inside their tenant on read" on ai.sources as restrictive
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "sources stay inside their tenant on update" on ai.sources as restrictive
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('member'))))
with check (tenant_id = any (array(select private.caller_tenant_ids('member'))));

create policy "sources stay inside their tenant on delete" on ai.sources as restrictive
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('member'))));

create policy auth_read_sources on ai.sources
for select to authenticated
using (
  visibility = 'tenant'
  or owner_id = (select auth.uid())
  or (visibility = 'granted' and allowed_principals && (select private.caller_principal_ids())::uuid[])
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

-- Says again what an admin can see: a statement without a where clause is not held to the policy for select.
create policy "owners, and admins who see them, change sources" on ai.sources
for update to authenticated
using (
  owner_id = (select auth.uid())
  or (
    tenant_id = any (array(select private.caller_tenant_ids('admin')))
    and (visibility = 'tenant' or (visibility = 'granted' and allowed_principals && (select private.caller_principal_ids())::uuid[]))
  )
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
)
with check (
  owner_id = (select auth.uid())
  or (
    tenant_id = any (array(select private.caller_tenant_ids('admin')))
    and (visibility = 'tenant' or (visibility = 'granted' and allowed_principals && (select private.caller_principal_ids())::uuid[]))
  )
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create policy "owners, and admins who see them, delete sources" on ai.sources
for delete to authenticated
using (
  owner_id = (select auth.uid())
  or (
    tenant_id = any (array(select private.caller_tenant_ids('admin')))
    and (visibility = 'tenant' or (visibility = 'granted' and allowed_principals && (select private.caller_principal_ids())::uuid[]))
  )
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

-- Serves the policies and the newest-first list.
create index sources_tenant_id_created_at_idx on ai.sources (tenant_id, created_at desc, id);
create index sources_owner_id_idx on ai.sources (owner_id);
-- The same bytes once per audience: a private copy neither blocks nor betrays somebody else's.
create unique index sources_tenant_hash_key on ai.sources (tenant_id, content_hash) where visibility = 'tenant';
-- Sources that nobody owns never clash: two people who leave may leave the same bytes behind.
create unique index sources_owner_hash_key on ai.sources (tenant_id, owner_id, content_hash) where visibility <> 'tenant';
-- What the sweep looks for.
create index sources_unfinished_idx on ai.sources (extraction_status, lease_expires_at)
where extraction_status in ('pending', 'extracting');

create trigger refuse_tenant_change before update on ai.sources for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.sources for each row execute function private.touch_updated_at();
