-- An agent acts with the rights of whoever asks it, and does what its prompt says, which a member may have written: without
-- this, an agent with `database_write` on public.memberships would make its author an owner as soon as an owner says hello.
create function private.refuse_agents()
returns trigger
language plpgsql
security definer -- whoever the caller is, and in the functions that write these tables for them
set search_path = ''
as $$
begin
  if auth.jwt() #>> '{act,run_id}' is not null then
    perform private.raise_error(403, 'forbidden', 'An agent does not change who is in a tenant.', 'People do that themselves.');
  end if;
  return null;
end;
$$;

comment on function private.refuse_agents() is
  'Trigger before a statement: refuses it (PT403 forbidden) under a token that says that the agent of a run acts, with whatever rights.';

revoke execute on function private.refuse_agents() from public;

create trigger refuse_agents before insert or update or delete on public.tenants for each statement execute function private.refuse_agents();
create trigger refuse_agents before insert or update or delete on public.memberships for each statement execute function private.refuse_agents();
create trigger refuse_agents before insert or update or delete on public.invitations for each statement execute function private.refuse_agents();
create trigger refuse_agents before insert or update or delete on public.groups for each statement execute function private.refuse_agents();
create trigger refuse_agents before insert or update or delete on public.group_members for each statement execute function private.refuse_agents();
