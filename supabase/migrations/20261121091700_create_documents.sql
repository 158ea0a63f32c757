create table public.documents (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  source_id uuid not null,
  owner_id uuid not null default auth.uid(),
  title text,
  created_at timestamptz not null default now(),
  constraint documents_source_fkey foreign key (tenant_id, source_id) references ai.sources (tenant_id, id) on delete cascade,
  constraint documents_owner_id_fkey foreign key (owner_id) references auth.users (id) on delete cascade,
  constraint documents_source_id_key unique (source_id),
  constraint documents_title_has_a_length check (char_length(title) <= 500)
);

comment on table public.documents is 'Who owns which source, in the shape the cookbook''s recipes use. Claiming a source here also sets its owner.';

create index documents_tenant_id_source_id_idx on public.documents (tenant_id, source_id);
create index documents_owner_id_idx on public.documents (owner_id);

alter table public.documents enable row level security;
alter table public.documents force row level security;
revoke all on table public.documents from anon, authenticated, service_role;
grant select, delete on table public.documents to authenticated;
grant insert (tenant_id, source_id, owner_id, title) on table public.documents to authenticated;
grant update (title) on table public.documents to authenticated;
grant select, insert, update, delete on table public.documents to service_role;

-- Reads no other table: policies on ai.sources and ai.chunks read this one (recipe 1), and a cycle would never end.
create policy "owners read their documents" on public.documents
for select to authenticated
using (
  (owner_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids())))
  or tenant_id = any (array(select private.caller_backend_tenant_ids()))
);

create function private.may_claim_source(source_id uuid, owner_id uuid)
returns boolean
language sql
stable
security definer -- must see the owner also when an app's own policies hide unclaimed sources
set search_path = ''
as $$
  select exists (
    select from ai.sources
    where sources.id = may_claim_source.source_id
      and (
        (
          may_claim_source.owner_id = (select auth.uid())
          and sources.tenant_id = any (array(select private.caller_tenant_ids('member')))
          and (sources.owner_id = (select auth.uid()) or (sources.owner_id is null and sources.visibility = 'tenant'))
        )
        or (
          sources.tenant_id = any (array(select private.caller_backend_tenant_ids()))
          and private.is_member(sources.tenant_id, may_claim_source.owner_id)
        )
      )
  );
$$;

comment on function private.may_claim_source(uuid, uuid) is
  'Whether the caller may record this owner: themselves for a source that is theirs or that nobody owns, or any member when the caller is the tenant''s backend.';

create function private.complete_document()
returns trigger
language plpgsql
security definer -- reads the tenant and sets the owner of a source the caller may not update
set search_path = ''
as $$
declare
  source_tenant uuid;
begin
  select sources.tenant_id into source_tenant from ai.sources where sources.id = new.source_id;
  if (select auth.role()) = 'authenticated' and not private.may_claim_source(new.source_id, new.owner_id) then
    source_tenant := null;
  end if;
  if source_tenant is null or (new.tenant_id is not null and new.tenant_id <> source_tenant) then
    -- Absent, another tenant's and somebody else's source look alike.
    perform private.raise_error(404, 'not_found', 'Source not found.', 'Upload it first, or check its id.');
  end if;
  new.tenant_id := source_tenant;
  update ai.sources set owner_id = new.owner_id where sources.id = new.source_id and sources.owner_id is null;
  return new;
end;
$$;

comment on function private.complete_document() is 'Trigger: fills tenant_id from the source, checks the claim, and sets the owner of a source that had none.';

revoke execute on function private.may_claim_source(uuid, uuid) from public;
revoke execute on function private.complete_document() from public;
grant execute on function private.may_claim_source(uuid, uuid) to authenticated;

create policy "people claim their own sources" on public.documents
for insert to authenticated
with check (
  tenant_id = any (array(select private.caller_tenant_ids('member')))
  and (select private.may_claim_source(source_id, owner_id))
);

create policy "owners retitle their documents" on public.documents
for update to authenticated
using (owner_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))))
with check (owner_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))));

create policy "owners remove their documents" on public.documents
for delete to authenticated
using (owner_id = (select auth.uid()) and tenant_id = any (array(select private.caller_tenant_ids('member'))));

create trigger complete_document before insert on public.documents for each row execute function private.complete_document();
create trigger refuse_tenant_change before update on public.documents for each row execute function private.refuse_tenant_change();
