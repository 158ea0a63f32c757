create table ai.context_handlers (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  user_id uuid default private.caller_user_id(),
  query text not null,
  status text not null default 'completed',
  knowledge_base_configs jsonb not null default '[]',
  max_context_tokens int not null default 32000,
  retrieved_context jsonb not null default '[]',
  metadata jsonb not null default '{}',
  errors jsonb not null default '[]',
  formatted_context text not null default '',
  created_at timestamptz not null default now(),
  completed_at timestamptz default now(),
  constraint context_handlers_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint context_handlers_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint context_handlers_query_has_a_length check (char_length(query) between 1 and 200000),
  constraint context_handlers_status_is_known check (status in ('pending', 'running', 'completed', 'failed')),
  constraint context_handlers_completed_at_matches_status check ((status in ('completed', 'failed')) = (completed_at is not null)),
  constraint context_handlers_knowledge_base_configs_is_a_list check (
    jsonb_typeof(knowledge_base_configs) = 'array' and pg_column_size(knowledge_base_configs) <= 65536
  ),
  constraint context_handlers_max_context_tokens_is_in_range check (max_context_tokens between 1 and 1000000),
  constraint context_handlers_retrieved_context_is_a_list check (
    jsonb_typeof(retrieved_context) = 'array' and pg_column_size(retrieved_context) <= 4194304
  ),
  constraint context_handlers_metadata_is_an_object check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536),
  constraint context_handlers_errors_is_a_list check (jsonb_typeof(errors) = 'array' and pg_column_size(errors) <= 65536),
  constraint context_handlers_formatted_context_has_a_length check (char_length(formatted_context) <= 4000000)
);

comment on table ai.context_handlers is 'A stored retrieval: what one person was shown for a question, to be used by runs of theirs. It is not looked up again, so it keeps what they could see then.';
comment on column ai.context_handlers.user_id is 'The person it was retrieved for; null for the tenant''s backend.';

create index context_handlers_tenant_id_created_at_idx on ai.context_handlers (tenant_id, created_at desc, id);
create index context_handlers_user_id_created_at_idx on ai.context_handlers (user_id, created_at desc, id);

alter table ai.context_handlers enable row level security;
alter table ai.context_handlers force row level security;
revoke all on table ai.context_handlers from anon, authenticated, service_role;
grant select on table ai.context_handlers to authenticated;
grant insert (
  tenant_id, query, status, knowledge_base_configs, max_context_tokens, retrieved_context, metadata, errors, formatted_context,
  completed_at
) on table ai.context_handlers to authenticated;
grant select, insert, update, delete on table ai.context_handlers to service_role;

create policy "people read their own retrievals" on ai.context_handlers
for select to authenticated
using (
  (user_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create policy "people store their own retrievals" on ai.context_handlers
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and user_id is not distinct from (select private.caller_user_id())
);

create trigger refuse_tenant_change before update on ai.context_handlers for each row execute function private.refuse_tenant_change();
