create function private.accept_invitation(invitation_id uuid)
returns public.memberships
language plpgsql
security definer -- the invited person is not a member yet and may not read invitations or auth.users
set search_path = ''
as $$
declare
  caller uuid := private.caller_user_id();
  caller_email text;
  invitation public.invitations;
  membership public.memberships;
begin
  select lower(users.email) into caller_email
  from auth.users
  where users.id = caller and users.email_confirmed_at is not null;

  select * into invitation
  from public.invitations
  where invitations.id = accept_invitation.invitation_id
    and invitations.email = caller_email
    and invitations.accepted_at is null
    and invitations.expires_at > now()
    -- An invitation is worth what its author may still give; one without an author was made with the secret key.
    and (
      invitations.invited_by is null
      or (
        invitations.invited_by <> caller
        and exists (
          select from public.memberships
          where memberships.tenant_id = invitations.tenant_id
            and memberships.user_id = invitations.invited_by
            and private.role_rank(memberships.role) >= greatest(private.role_rank('admin'), private.role_rank(invitations.role))
        )
      )
    )
  for update;

  -- Unknown, somebody else's, used and expired look alike: the id alone must tell nothing.
  if invitation.id is null then
    perform private.raise_error(404, 'not_found', 'No open invitation for you has this id.', 'Sign in with the invited address, or ask for a new invitation.');
  end if;

  insert into public.memberships (tenant_id, user_id, role)
  values (invitation.tenant_id, caller, invitation.role)
  on conflict on constraint memberships_pkey do nothing;
  update public.invitations set accepted_at = now() where invitations.id = invitation.id;

  select * into membership
  from public.memberships
  where memberships.tenant_id = invitation.tenant_id and memberships.user_id = caller;
  return membership;
end;
$$;

comment on function private.accept_invitation(uuid) is 'Core of public.accept_invitation().';

create function public.accept_invitation(invitation_id uuid)
returns public.memberships
language sql
set search_path = ''
as $$
  select private.accept_invitation(accept_invitation.invitation_id);
$$;

comment on function public.accept_invitation(uuid) is
  'Makes the caller a member if the invitation is open and addressed to their confirmed e-mail address. An existing membership keeps its role. PT404 otherwise.';

revoke execute on function private.accept_invitation(uuid) from public;
revoke execute on function public.accept_invitation(uuid) from public, anon, authenticated, service_role;
grant execute on function private.accept_invitation(uuid) to authenticated;
grant execute on function public.accept_invitation(uuid) to authenticated;
