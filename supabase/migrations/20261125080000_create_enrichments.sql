-- Enrichment: a model answers the same questions (fields) about every source of a knowledge base. One configuration per knowledge
-- base, with the state of its last run beside it, and one result per source.
create function private.is_enrichment_fields(fields jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
declare
  field jsonb;
  seen text[] := '{}';
begin
  if fields is null or jsonb_typeof(fields) <> 'array' or jsonb_array_length(fields) not between 1 and 50 then
    return false;
  end if;
  for field in select value from jsonb_array_elements(fields) loop
    if jsonb_typeof(field) <> 'object'
      or jsonb_typeof(field -> 'name') is distinct from 'string' or field ->> 'name' !~ '^[A-Za-z][A-Za-z0-9_]{0,62}$'
      -- What the agent API keeps for itself, and what code that copies objects stumbles over.
      or lower(field ->> 'name') in ('id', 'item_id', 'item_type', 'enriched_at', 'constructor')
      or lower(field ->> 'name') = any (seen)
      or jsonb_typeof(field -> 'description') is distinct from 'string'
      or char_length(btrim(field ->> 'description')) not between 1 and 2000
      or coalesce(field ->> 'type' not in ('text', 'boolean', 'number', 'enum'), true)
      or (field ->> 'type' = 'enum') <> (field ? 'enum_values')
      or field - array['name', 'description', 'type', 'enum_values'] <> '{}'
    then
      return false;
    end if;
    if field ? 'enum_values' and (
      jsonb_typeof(field -> 'enum_values') <> 'array'
      or jsonb_array_length(field -> 'enum_values') not between 2 and 100
      or exists (
        select from jsonb_array_elements(field -> 'enum_values') as choice
        where jsonb_typeof(choice) <> 'string' or char_length(btrim(choice #>> '{}')) not between 1 and 200
      )
      or (select count(distinct choice) <> count(*) from jsonb_array_elements_text(field -> 'enum_values') as choice)
    ) then
      return false;
    end if;
    seen := seen || lower(field ->> 'name');
  end loop;
  return true;
end;
$$;

comment on function private.is_enrichment_fields(jsonb) is
  'Whether this is a list of 1 to 50 fields {name, description, type text|boolean|number|enum, enum_values?}: names are identifiers, each once whatever its case; an enum has 2 to 100 different values.';

create table ai.enrichments (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  knowledge_base_id uuid not null,
  fields jsonb not null,
  llm_model text,
  max_tokens int not null default 2000,
  use_multimodal boolean not null default false,
  status text not null default 'idle',
  error_code text,
  reason_code text,
  error_message text,
  run_number int not null default 0,
  scope text not null default 'all',
  started_by uuid,
  principal_id uuid,
  started_at timestamptz,
  finished_at timestamptz,
  celery_task_id text,
  attempts int not null default 0,
  next_retry_at timestamptz,
  lease_token uuid,
  leased_by text,
  lease_expires_at timestamptz,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint enrichments_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint enrichments_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint enrichments_started_by_fkey foreign key (started_by) references auth.users (id) on delete set null,
  constraint enrichments_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint enrichments_tenant_id_id_key unique (tenant_id, id),
  constraint enrichments_tenant_id_knowledge_base_id_key unique (tenant_id, knowledge_base_id),
  constraint enrichments_fields_have_a_form check (private.is_enrichment_fields(fields)),
  constraint enrichments_fields_have_a_size check (pg_column_size(fields) <= 65536),
  constraint enrichments_llm_model_is_a_name check (llm_model ~ '^[[:graph:]]{1,200}$'),
  constraint enrichments_max_tokens_range check (max_tokens between 1 and 100000),
  constraint enrichments_status_is_known check (status in ('idle', 'enriching', 'completed', 'failed')),
  constraint enrichments_scope_is_known check (scope in ('all', 'new', 'failed', 'new_and_failed')),
  constraint enrichments_failure_has_a_reason check (status <> 'failed' or (error_code is not null and error_message is not null)),
  constraint enrichments_running_has_a_principal check (status <> 'enriching' or principal_id is not null),
  constraint enrichments_leased_while_enriching check (lease_token is null or status = 'enriching')
);

comment on table ai.enrichments is
  'What a model is asked about each source of a knowledge base, and how far the last run of it is. Written through functions; carried out by the job enrich_knowledge_base.';
comment on column ai.enrichments.fields is '[{name, description, type: text | boolean | number | enum, enum_values?}]';
comment on column ai.enrichments.llm_model is 'Null: the model of the project.';
comment on column ai.enrichments.max_tokens is 'Tokens that one answer may have.';
comment on column ai.enrichments.use_multimodal is 'Kept for clients that send it. Text is read whatever it says.';
comment on column ai.enrichments.status is
  'Of the last run. It says nothing about sources: whether any failed, ai.enrichment_state() says of those that the caller can see.';
comment on column ai.enrichments.run_number is 'Counts the runs; a result that bears it was made by the last one.';
comment on column ai.enrichments.scope is 'Which sources the last run is about: all; new ones and those whose text has changed; failed ones; or both of the latter.';
comment on column ai.enrichments.started_by is 'The person whose rights the run has and whose budget it uses; null: the backend, or somebody whose account is gone.';
comment on column ai.enrichments.principal_id is 'Whose token the run reads with: started_by, or the tenant''s backend principal.';
comment on column ai.enrichments.celery_task_id is 'Id of the job of the last run; the name is that of the agent API.';
comment on column ai.enrichments.attempts is 'Times it was taken up since a result was last stored.';
comment on column ai.enrichments.lease_token is 'Fencing token of the worker that is at it; every write of its must carry it.';

create index enrichments_started_by_idx on ai.enrichments (started_by);
create index enrichments_created_by_idx on ai.enrichments (created_by);
-- What the sweep looks for.
create index enrichments_unfinished_idx on ai.enrichments (lease_expires_at) where status = 'enriching';

alter table ai.enrichments enable row level security;
alter table ai.enrichments force row level security;
revoke all on table ai.enrichments from anon, authenticated, service_role;
grant select (
  id, tenant_id, knowledge_base_id, fields, llm_model, max_tokens, use_multimodal, status, error_code, reason_code, error_message, run_number, scope,
  started_by, started_at, finished_at, celery_task_id, attempts, next_retry_at, created_by, created_at, updated_at
) on table ai.enrichments to authenticated;
grant select, insert, update, delete on table ai.enrichments to service_role;

create policy "members read how the knowledge bases of their tenants are enriched" on ai.enrichments
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create table ai.enrichment_results (
  tenant_id uuid not null,
  enrichment_id uuid not null,
  indexed_source_id uuid not null,
  run_number int not null,
  field_values jsonb,
  error_code text,
  error_message text,
  note text,
  model text,
  source_extracted_at timestamptz,
  enriched_at timestamptz not null default now(),
  constraint enrichment_results_pkey primary key (indexed_source_id),
  constraint enrichment_results_enrichment_fkey foreign key (tenant_id, enrichment_id) references ai.enrichments (tenant_id, id) on delete cascade,
  constraint enrichment_results_indexed_source_fkey foreign key (tenant_id, indexed_source_id) references ai.indexed_sources (tenant_id, id) on delete cascade,
  constraint enrichment_results_have_values_or_an_error check ((field_values is null) <> (error_code is null)),
  constraint enrichment_results_errors_have_a_message check ((error_code is null) = (error_message is null)),
  constraint enrichment_results_values_are_an_object check (jsonb_typeof(field_values) = 'object')
);

comment on table ai.enrichment_results is
  'What a model has answered about a source in a knowledge base, or why it has not. Whoever can see the source sees it, and nobody else.';
comment on column ai.enrichment_results.field_values is 'Value per field, of its type; null where the document does not say.';
comment on column ai.enrichment_results.note is 'What to know about the values, e.g. that only the beginning was read.';
comment on column ai.enrichment_results.source_extracted_at is 'extracted_at of the text that was read: with another one, the source has changed since.';

create index enrichment_results_tenant_id_enrichment_id_idx on ai.enrichment_results (tenant_id, enrichment_id);
create index enrichment_results_tenant_id_indexed_source_id_idx on ai.enrichment_results (tenant_id, indexed_source_id);

alter table ai.enrichment_results enable row level security;
alter table ai.enrichment_results force row level security;
revoke all on table ai.enrichment_results from anon, authenticated, service_role;
grant select on table ai.enrichment_results to authenticated;
grant select, insert, update, delete on table ai.enrichment_results to service_role;

-- The subquery is answered under the policies of ai.indexed_sources, and those of ai.sources in turn.
create policy "readers of a source see what it was enriched with" on ai.enrichment_results
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.indexed_sources where indexed_sources.id = enrichment_results.indexed_source_id)
);

create trigger refuse_tenant_change before update on ai.enrichments for each row execute function private.refuse_tenant_change();
create trigger refuse_tenant_change before update on ai.enrichment_results for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update of fields, llm_model, max_tokens, use_multimodal on ai.enrichments
for each row execute function private.touch_updated_at();

-- Who asks what of a model about everybody's documents, and who lets it run. The questions themselves are not put down.
create trigger audit_inserted after insert on ai.enrichments referencing new table as new_rows
for each statement execute function private.audit_inserted('knowledge_base.enrichment_set', 'knowledge_base', 'knowledge_base_id', 'llm_model');
create trigger audit_updated after update of fields, llm_model, max_tokens, use_multimodal on ai.enrichments
for each row when (
  (old.fields, old.llm_model, old.max_tokens, old.use_multimodal) is distinct from (new.fields, new.llm_model, new.max_tokens, new.use_multimodal)
)
execute function private.audit_updated('knowledge_base.enrichment_changed', 'knowledge_base', 'knowledge_base_id', '', 'llm_model max_tokens');
create trigger audit_started after update of run_number on ai.enrichments
for each row when (old.run_number <> new.run_number)
execute function private.audit_updated('knowledge_base.enrichment_started', 'knowledge_base', 'knowledge_base_id', 'scope', '');
create trigger audit_deleted after delete on ai.enrichments referencing old table as old_rows
for each statement execute function private.audit_deleted('knowledge_base.enrichment_deleted', 'knowledge_base', 'knowledge_base_id', '');

revoke execute on function private.is_enrichment_fields(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.is_enrichment_fields(jsonb) to service_role;

select pgboss.create_queue('enrich_knowledge_base_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('enrich_knowledge_base', '{"policy": "short", "retryLimit": 4, "retryDelay": 2, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 3600, "heartbeatSeconds": 10, "deadLetter": "enrich_knowledge_base_dead", "notify": true}');
-- Each job asks a model for minutes: a tenant with many knowledge bases waits for its own.
insert into private.queue_limits (queue, max_active_per_tenant) values ('enrich_knowledge_base', 1);
