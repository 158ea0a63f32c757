create table ai.knowledge_bases (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  name text not null,
  description text,
  is_default boolean not null default false,
  indexing_config jsonb not null default '{"strategy": "chunk_embed", "chunk_size": 400, "overlap": 50}',
  retrieval_config jsonb not null default '{"method": "hybrid", "top_k": 5, "vector_weight": 0.5}',
  created_by uuid default private.caller_user_id(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint knowledge_bases_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint knowledge_bases_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint knowledge_bases_tenant_id_id_key unique (tenant_id, id),
  constraint knowledge_bases_name_has_a_length check (char_length(btrim(name)) between 1 and 200),
  constraint knowledge_bases_description_has_a_length check (char_length(description) <= 10000),
  constraint knowledge_bases_configs_are_objects check (jsonb_typeof(indexing_config) = 'object' and jsonb_typeof(retrieval_config) = 'object'),
  constraint knowledge_bases_configs_have_a_size check (pg_column_size(indexing_config) <= 65536 and pg_column_size(retrieval_config) <= 65536)
);

comment on table ai.knowledge_bases is 'A searchable set of sources.';
comment on column ai.knowledge_bases.is_default is 'The one that uploads go to when none is named; each tenant has exactly one, made with it.';
comment on column ai.knowledge_bases.indexing_config is 'strategy chunk_embed; chunk_size and overlap in tokens.';
comment on column ai.knowledge_bases.retrieval_config is 'method hybrid, vector_search or full_text; top_k; vector_weight 0..1.';

create unique index knowledge_bases_default_key on ai.knowledge_bases (tenant_id) where is_default;
create index knowledge_bases_tenant_id_created_at_idx on ai.knowledge_bases (tenant_id, created_at desc, id);
create index knowledge_bases_created_by_idx on ai.knowledge_bases (created_by);

alter table ai.knowledge_bases enable row level security;
alter table ai.knowledge_bases force row level security;
revoke all on table ai.knowledge_bases from anon, authenticated, service_role;
grant select, delete on table ai.knowledge_bases to authenticated;
grant insert (tenant_id, name, description, indexing_config, retrieval_config) on table ai.knowledge_bases to authenticated;
grant update (name, description, indexing_config, retrieval_config) on table ai.knowledge_bases to authenticated;
grant select, insert, update, delete on table ai.knowledge_bases to service_role;

create policy "members read the knowledge bases of their tenants" on ai.knowledge_bases
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "members create knowledge bases" on ai.knowledge_bases
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and created_by is not distinct from (select private.caller_user_id())
);

create policy "creators and admins change knowledge bases" on ai.knowledge_bases
for update to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
)
with check (
  tenant_id = any (array(select private.caller_tenant_ids('admin')))
  or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
);

create policy "creators and admins delete knowledge bases, but the default one" on ai.knowledge_bases
for delete to authenticated
using (
  not is_default
  and (
    tenant_id = any (array(select private.caller_tenant_ids('admin')))
    or (created_by = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
  )
);

create trigger refuse_tenant_change before update on ai.knowledge_bases for each row execute function private.refuse_tenant_change();
create trigger touch_updated_at before update on ai.knowledge_bases for each row execute function private.touch_updated_at();
