-- Tables first, policies in the next files: the caller lookups that the policies use read these tables.
create table public.tenants (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  created_at timestamptz not null default now(),
  constraint tenants_name_has_a_length check (char_length(btrim(name)) between 1 and 200)
);

comment on table public.tenants is 'An isolated customer. Everything else belongs to exactly one tenant.';

create table public.memberships (
  tenant_id uuid not null,
  user_id uuid not null,
  role text not null,
  created_at timestamptz not null default now(),
  constraint memberships_pkey primary key (tenant_id, user_id),
  constraint memberships_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint memberships_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint memberships_role_is_known check (role in ('owner', 'admin', 'member', 'viewer'))
);

comment on table public.memberships is
  'A person''s place in a tenant. The only source of authority: claims and headers can narrow it, never widen it.';
comment on column public.memberships.role is 'owner > admin > member > viewer. Viewers read; members add; admins manage; owners also manage owners.';

create index memberships_user_id_idx on public.memberships (user_id);

create table public.invitations (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  email text not null,
  role text not null default 'member',
  invited_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '7 days',
  accepted_at timestamptz,
  constraint invitations_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint invitations_invited_by_fkey foreign key (invited_by) references auth.users (id) on delete cascade,
  constraint invitations_email_is_lower_case check (email = lower(btrim(email)) and email like '_%@_%' and char_length(email) <= 320),
  constraint invitations_role_is_known check (role in ('owner', 'admin', 'member', 'viewer')),
  constraint invitations_expire_within_30_days check (expires_at <= created_at + interval '30 days')
);

comment on table public.invitations is 'An offer of membership to whoever proves to own the e-mail address. Accepted through accept_invitation().';

create unique index invitations_open_email_key on public.invitations (tenant_id, email) where accepted_at is null;
create index invitations_tenant_id_created_at_idx on public.invitations (tenant_id, created_at desc);
create index invitations_invited_by_idx on public.invitations (invited_by);

create table public.groups (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  name text not null,
  created_at timestamptz not null default now(),
  constraint groups_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint groups_tenant_id_id_key unique (tenant_id, id),
  constraint groups_tenant_id_name_key unique (tenant_id, name),
  constraint groups_name_has_a_length check (char_length(btrim(name)) between 1 and 200)
);

comment on table public.groups is 'People of one tenant whom a source can be granted to together.';

create table public.group_members (
  tenant_id uuid not null,
  group_id uuid not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  constraint group_members_pkey primary key (group_id, user_id),
  constraint group_members_group_fkey foreign key (tenant_id, group_id) references public.groups (tenant_id, id) on delete cascade,
  -- Leaving the tenant leaves its groups.
  constraint group_members_membership_fkey foreign key (tenant_id, user_id) references public.memberships (tenant_id, user_id) on delete cascade
);

comment on table public.group_members is 'Who is in a group; only members of the same tenant can be.';

create index group_members_user_id_idx on public.group_members (user_id);
create index group_members_tenant_id_user_id_idx on public.group_members (tenant_id, user_id);

create table private.tenant_principals (
  tenant_id uuid primary key,
  id uuid not null unique default gen_random_uuid(),
  constraint tenant_principals_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade
);

comment on table private.tenant_principals is
  'The subject of tokens minted for a tenant''s trusted backend (a service-key caller that names no user). No person, cannot sign in, admin in this one tenant.';

do $$
declare
  name text;
begin
  foreach name in array array['public.tenants', 'public.memberships', 'public.invitations', 'public.groups', 'public.group_members', 'private.tenant_principals'] loop
    execute format('alter table %s enable row level security', name);
    execute format('alter table %s force row level security', name);
    execute format('revoke all on table %s from anon, authenticated, service_role', name);
  end loop;
end;
$$;

create trigger refuse_tenant_change before update on public.memberships for each row execute function private.refuse_tenant_change();
create trigger refuse_tenant_change before update on public.invitations for each row execute function private.refuse_tenant_change();
create trigger refuse_tenant_change before update on public.groups for each row execute function private.refuse_tenant_change();
create trigger refuse_tenant_change before update on public.group_members for each row execute function private.refuse_tenant_change();
