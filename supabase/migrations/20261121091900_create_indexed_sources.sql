create table ai.indexed_sources (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  knowledge_base_id uuid not null,
  source_id uuid not null,
  index_status text not null default 'pending',
  indexed_at timestamptz,
  stats jsonb not null default '{}',
  error_code text,
  reason_code text,
  error_message text,
  attempts int not null default 0,
  next_retry_at timestamptz,
  embedding_model text,
  indexing_config_snapshot jsonb,
  celery_task_id text,
  last_dispatched_at timestamptz,
  lease_token uuid,
  leased_by text,
  lease_expires_at timestamptz,
  created_at timestamptz not null default now(),
  constraint indexed_sources_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint indexed_sources_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint indexed_sources_tenant_id_id_key unique (tenant_id, id),
  constraint indexed_sources_knowledge_base_id_source_id_key unique (knowledge_base_id, source_id),
  constraint indexed_sources_index_status_is_known check (index_status in ('pending', 'indexing', 'indexed', 'failed', 'cancelled')),
  constraint indexed_sources_error_code_is_known check (
    error_code in ('rate_limited', 'transient', 'timeout', 'permanent', 'no_content', 'internal')
  ),
  constraint indexed_sources_failure_has_a_reason check (index_status <> 'failed' or (error_code is not null and error_message is not null)),
  constraint indexed_sources_lease_matches_status check ((index_status = 'indexing') = (lease_token is not null))
);

comment on table ai.indexed_sources is
  'A source in a knowledge base and how far its indexing is. While it is indexed anew, the chunks of the last complete indexing stay searchable.';
comment on column ai.indexed_sources.indexed_at is 'When the chunks that are searchable now were swapped in; null before the first time.';
comment on column ai.indexed_sources.embedding_model is 'Model of the vectors that are searchable now.';
comment on column ai.indexed_sources.lease_token is 'Fencing token of the worker that is indexing; every write of its must carry it.';

create index indexed_sources_tenant_id_source_id_idx on ai.indexed_sources (tenant_id, source_id);
create index indexed_sources_tenant_id_knowledge_base_id_idx on ai.indexed_sources (tenant_id, knowledge_base_id);
create index indexed_sources_unfinished_idx on ai.indexed_sources (index_status, lease_expires_at) where index_status in ('pending', 'indexing');

alter table ai.indexed_sources enable row level security;
alter table ai.indexed_sources force row level security;
revoke all on table ai.indexed_sources from anon, authenticated, service_role;
grant select (
  id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, stats, error_code, reason_code, error_message,
  attempts, next_retry_at, embedding_model, indexing_config_snapshot, celery_task_id, last_dispatched_at, created_at
) on table ai.indexed_sources to authenticated;
grant delete on table ai.indexed_sources to authenticated;
grant select, insert, update, delete on table ai.indexed_sources to service_role;

create policy "readers of a source see where it is indexed" on ai.indexed_sources
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.sources where sources.id = indexed_sources.source_id)
);

create policy "owners and admins take sources out of knowledge bases" on ai.indexed_sources
for delete to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and exists (
    select from ai.sources
    where sources.id = indexed_sources.source_id
      and (sources.owner_id = (select auth.uid()) or sources.tenant_id = any (array(select private.caller_tenant_ids('admin'))))
  )
);

create trigger refuse_tenant_change before update on ai.indexed_sources for each row execute function private.refuse_tenant_change();
