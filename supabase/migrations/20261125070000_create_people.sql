-- Who is in a tenant, with the address to know them by; and the invitations that wait for oneself. Both need auth.users, which no
-- client reads.

create function private.people(tenant_id uuid)
returns table (user_id uuid, email text, role text, joined_at timestamptz, groups jsonb)
language sql
stable
security definer -- e-mail addresses are in auth.users; only those of the caller's own tenants leave here
set search_path = ''
as $$
  select
    memberships.user_id, users.email::text, memberships.role, memberships.created_at,
    coalesce(
      (
        select jsonb_agg(jsonb_build_object('id', groups.id, 'name', groups.name) order by groups.name, groups.id)
        from public.group_members
        join public.groups on groups.tenant_id = group_members.tenant_id and groups.id = group_members.group_id
        where group_members.user_id = memberships.user_id and group_members.tenant_id = memberships.tenant_id
      ),
      '[]'
    )
  from public.memberships
  join auth.users on users.id = memberships.user_id
  where memberships.tenant_id = people.tenant_id and memberships.tenant_id = any (array(select private.caller_tenant_ids()))
  order by private.role_rank(memberships.role) desc, users.email, memberships.user_id;
$$;

comment on function private.people(uuid) is 'Core of public.people().';

create function public.people(tenant_id uuid)
returns table (user_id uuid, email text, role text, joined_at timestamptz, groups jsonb)
language sql
stable
security invoker
set search_path = ''
as $$
  select people.user_id, people.email, people.role, people.joined_at, people.groups
  from private.people(people.tenant_id) as people;
$$;

comment on function public.people(uuid) is
  'The members of a tenant that the caller is in, owners first: e-mail address, role, since when, and their groups [{id, name}]. No rows for another tenant. '
  'Who has left is not among them.';

create function private.my_invitations()
returns table (
  id uuid, tenant_id uuid, tenant_name text, role text, invited_by_email text, created_at timestamptz, expires_at timestamptz
)
language sql
stable
security definer -- the invited are not members yet: they may read neither the invitation nor the name of the tenant by themselves
set search_path = ''
as $$
  select
    invitations.id, invitations.tenant_id, tenants.name, invitations.role, inviters.email::text, invitations.created_at, invitations.expires_at
  from auth.users
  join public.invitations on invitations.email = lower(users.email)
  join public.tenants on tenants.id = invitations.tenant_id
  left join auth.users as inviters on inviters.id = invitations.invited_by
  where users.id = private.caller_user_id() and users.email_confirmed_at is not null
    -- To the person alone: neither an agent nor a backend that acts for them learns where else they are invited to.
    and auth.jwt() -> 'act' is null
    -- From here on as in private.accept_invitation().
    and invitations.accepted_at is null
    and invitations.expires_at > now()
    and (
      invitations.invited_by is null
      or (
        invitations.invited_by <> users.id
        and exists (
          select from public.memberships
          where memberships.tenant_id = invitations.tenant_id
            and memberships.user_id = invitations.invited_by
            and private.role_rank(memberships.role) >= greatest(private.role_rank('admin'), private.role_rank(invitations.role))
        )
      )
    )
  order by invitations.created_at, invitations.id;
$$;

comment on function private.my_invitations() is 'Core of public.my_invitations().';

create function public.my_invitations()
returns table (
  id uuid, tenant_id uuid, tenant_name text, role text, invited_by_email text, created_at timestamptz, expires_at timestamptz
)
language sql
stable
security invoker
set search_path = ''
as $$
  select
    invitations.id, invitations.tenant_id, invitations.tenant_name, invitations.role, invitations.invited_by_email, invitations.created_at,
    invitations.expires_at
  from private.my_invitations() as invitations;
$$;

comment on function public.my_invitations() is
  'The invitations the caller can accept right now by public.accept_invitation(): those to their confirmed e-mail address, of any tenant.';

revoke execute on function private.people(uuid) from public, anon, authenticated, service_role;
revoke execute on function public.people(uuid) from public, anon, authenticated, service_role;
revoke execute on function private.my_invitations() from public, anon, authenticated, service_role;
revoke execute on function public.my_invitations() from public, anon, authenticated, service_role;
grant execute on function private.people(uuid) to authenticated;
grant execute on function public.people(uuid) to authenticated;
grant execute on function private.my_invitations() to authenticated;
grant execute on function public.my_invitations() to authenticated;

-- my_invitations() begins with the address.
create index invitations_open_email_idx on public.invitations (email) where accepted_at is null;
