create table ai.source_grants (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  source_id uuid not null,
  user_id uuid,
  group_id uuid,
  created_at timestamptz not null default now(),
  constraint source_grants_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint source_grants_membership_fkey foreign key (tenant_id, user_id) references public.memberships (tenant_id, user_id) on delete cascade,
  constraint source_grants_group_fkey foreign key (tenant_id, group_id) references public.groups (tenant_id, id) on delete cascade,
  constraint source_grants_name_one_grantee check (num_nonnulls(user_id, group_id) = 1),
  constraint source_grants_grantee_key unique nulls not distinct (source_id, user_id, group_id)
);

comment on table ai.source_grants is 'Who besides the owner may read a source with visibility ''granted'': a person or a group of the same tenant.';

create index source_grants_tenant_id_user_id_idx on ai.source_grants (tenant_id, user_id);
create index source_grants_tenant_id_group_id_idx on ai.source_grants (tenant_id, group_id);
create index source_grants_tenant_id_source_id_idx on ai.source_grants (tenant_id, source_id);

alter table ai.source_grants enable row level security;
alter table ai.source_grants force row level security;
revoke all on table ai.source_grants from anon, authenticated, service_role;
grant select, delete on table ai.source_grants to authenticated;
grant insert (tenant_id, source_id, user_id, group_id) on table ai.source_grants to authenticated;
grant select, insert, update, delete on table ai.source_grants to service_role;

create policy "readers of a source see its grants" on ai.source_grants
for select to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids()))
  and exists (select from ai.sources where sources.id = source_grants.source_id)
);

create policy "owners and admins grant their sources" on ai.source_grants
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and exists (
    select from ai.sources
    where sources.id = source_grants.source_id
      and (sources.owner_id = (select auth.uid()) or sources.tenant_id = any (array(select private.caller_tenant_ids('admin'))))
  )
);

create policy "owners and admins take grants back" on ai.source_grants
for delete to authenticated
using (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and exists (
    select from ai.sources
    where sources.id = source_grants.source_id
      and (sources.owner_id = (select auth.uid()) or sources.tenant_id = any (array(select private.caller_tenant_ids('admin'))))
  )
);

create function private.copy_grants_to_source()
returns trigger
language plpgsql
security definer -- allowed_principals is writable by nobody
set search_path = ''
as $$
declare
  changed uuid := coalesce(new.source_id, old.source_id);
begin
  -- Two changes at once take turns here, and the update below reads grants anew; without it the second would write an
  -- old list over the first's, and a grant taken back could live on.
  perform from ai.sources where sources.id = changed for no key update;
  update ai.sources
  set allowed_principals = array(
    select coalesce(source_grants.user_id, source_grants.group_id)
    from ai.source_grants
    where source_grants.source_id = changed
    order by 1
  )
  where sources.id = changed;
  return null;
end;
$$;

comment on function private.copy_grants_to_source() is 'Trigger: keeps ai.sources.allowed_principals equal to the grants.';

revoke execute on function private.copy_grants_to_source() from public;

create trigger copy_grants_to_source after insert or update or delete on ai.source_grants
for each row execute function private.copy_grants_to_source();
create trigger refuse_tenant_change before update on ai.source_grants for each row execute function private.refuse_tenant_change();
