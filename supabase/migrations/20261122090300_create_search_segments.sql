-- A segment is the smallest part of the search index that is visible as a whole or not at all. Everything the index counts,
-- it counts per segment, so that a sum over the caller's segments says what the caller may see and nothing else.
create table private.search_segments (
  id int primary key generated always as identity,
  tenant_id uuid not null,
  kind text not null,
  knowledge_base_id uuid,
  agent_id uuid,
  visibility text not null,
  owner_id uuid,
  allowed_principals uuid[] not null default '{}',
  language text not null,
  item_count int not null default 0,
  term_count bigint not null default 0,
  constraint search_segments_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint search_segments_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint search_segments_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint search_segments_tenant_id_id_key unique (tenant_id, id),
  constraint search_segments_key unique nulls not distinct (
    tenant_id, kind, knowledge_base_id, agent_id, visibility, owner_id, allowed_principals, language
  ),
  constraint search_segments_kind_is_known check (kind in ('chunk', 'memory')),
  constraint search_segments_chunks_have_a_knowledge_base check ((kind = 'chunk') = (knowledge_base_id is not null)),
  constraint search_segments_visibility_is_known check (visibility in ('tenant', 'private', 'granted')),
  constraint search_segments_counts_are_no_debts check (item_count >= 0 and term_count >= 0)
);

comment on table private.search_segments is
  'A part of the search index that the same people may see: the chunks of one knowledge base, or the memories of one agent, with the same visibility, owner, grants and language.';
comment on column private.search_segments.term_count is 'Words of all its items together; divided by item_count, the average length of BM25.';

create index search_segments_knowledge_base_id_idx on private.search_segments (tenant_id, knowledge_base_id);
create index search_segments_agent_id_idx on private.search_segments (tenant_id, agent_id);

create function private.caller_segment_ids()
returns int[]
language plpgsql
stable
security definer -- the policy on search_segments calls this function
set search_path = ''
set enable_seqscan = off
as $$
declare
  caller constant uuid := auth.uid();
  narrowing uuid[];
begin
  if caller is null then
    return '{}';
  end if;
  narrowing := private.tenant_narrowing();
  -- One statement, as every policy of the index asks this: private.caller_tenants() and the rule of auth_read_chunks in one.
  return array(
    select search_segments.id
    from public.memberships
    join private.search_segments on search_segments.tenant_id = memberships.tenant_id
    where memberships.user_id = caller
      and memberships.tenant_id = all (narrowing)
      and (
        search_segments.visibility = 'tenant'
        or search_segments.owner_id = caller
        or (search_segments.visibility = 'granted' and search_segments.allowed_principals && (select private.caller_principal_ids())::uuid[])
      )
    union all
    select search_segments.id
    from private.tenant_principals
    join private.search_segments on search_segments.tenant_id = tenant_principals.tenant_id
    where tenant_principals.id = caller and tenant_principals.tenant_id = all (narrowing)
  );
end;
$$;

comment on function private.caller_segment_ids() is
  'Segments of the search index whose items the caller may see right now: the rule of auth_read_chunks and of memories, answered once per statement.';

revoke execute on function private.caller_segment_ids() from public;
grant execute on function private.caller_segment_ids() to authenticated, service_role;

alter table private.search_segments enable row level security;
alter table private.search_segments force row level security;
revoke all on table private.search_segments from anon, authenticated, service_role;
grant select on table private.search_segments to authenticated, service_role;

create policy "people see the segments they may search" on private.search_segments
for select to authenticated
using (id = any ((select private.caller_segment_ids())::int[]));

create trigger refuse_tenant_change before update on private.search_segments for each row execute function private.refuse_tenant_change();
