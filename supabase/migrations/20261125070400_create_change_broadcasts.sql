-- Tells the devices of a person at once when their membership or an approval has changed: ids and a state, no content, on their own
-- private topic. It is a hint to read again; what they may read is decided when they do.

create function private.broadcast_membership()
returns trigger
language plpgsql
security definer -- only the database speaks on topics, with whosever statement
set search_path = ''
as $$
declare
  membership constant public.memberships := case when tg_op = 'DELETE' then old else new end;
begin
  perform realtime.send(
    payload => jsonb_build_object(
      'tenant_id', membership.tenant_id,
      'change', case tg_op when 'INSERT' then 'added' when 'DELETE' then 'removed' else 'role' end,
      'role', case when tg_op <> 'DELETE' then membership.role end
    ),
    event => 'membership_changed',
    topic => 'chat:' || membership.user_id::text,
    private => true
  );
  return null;
end;
$$;

comment on function private.broadcast_membership() is
  'Trigger: sends membership_changed {tenant_id, change: added | removed | role, role} to the person''s topic chat:{user_id}.';

create function private.broadcast_group_membership()
returns trigger
language plpgsql
security definer -- only the database speaks on topics, with whosever statement
set search_path = ''
as $$
declare
  group_member constant public.group_members := case when tg_op = 'DELETE' then old else new end;
begin
  perform realtime.send(
    payload => jsonb_build_object('tenant_id', group_member.tenant_id, 'change', 'groups'),
    event => 'membership_changed',
    topic => 'chat:' || group_member.user_id::text,
    private => true
  );
  return null;
end;
$$;

comment on function private.broadcast_group_membership() is
  'Trigger: sends membership_changed {tenant_id, change: groups} to the topic chat:{user_id} of who came into a group or left it.';

create function private.broadcast_approval()
returns trigger
language plpgsql
security definer -- only the database speaks on topics, with whosever statement
set search_path = ''
as $$
declare
  -- Most people of a tenant may decide nothing: only those are asked about whom the approval could mean.
  roles constant text[] := case
    when new.decider_role is null and new.decider_group_id is null then array['admin', 'owner']
    else array['viewer', 'member', 'admin', 'owner']
  end;
  run_name constant text := (select agent_runs.run_id from ai.agent_runs where agent_runs.id = new.run_id);
  member_id uuid;
begin
  for member_id in
    select memberships.user_id
    from public.memberships
    where memberships.tenant_id = new.tenant_id
      and (
        memberships.user_id = new.user_id
        or (
          memberships.role = any (roles)
          and (
            new.decider_role is null or private.role_rank(memberships.role) >= private.role_rank(new.decider_role)
          )
          and (
            new.decider_group_id is null
            or memberships.user_id in (select group_members.user_id from public.group_members where group_members.group_id = new.decider_group_id)
          )
          and private.is_decider(new, memberships.user_id)
        )
      )
    -- The person of the run first. The rest of a very large circle finds out by asking.
    order by memberships.user_id is distinct from new.user_id
    limit 100
  loop
    perform realtime.send(
      payload => jsonb_build_object('approval_id', new.id, 'tenant_id', new.tenant_id, 'run_id', run_name, 'status', new.status),
      event => 'approval_changed',
      topic => 'chat:' || member_id::text,
      private => true
    );
  end loop;
  return null;
end;
$$;

comment on function private.broadcast_approval() is
  'Trigger: sends approval_changed {approval_id, tenant_id, run_id, status} to the topics chat:{user_id} of the person of the run and of those who may decide, 100 people at most.';

revoke execute on function private.broadcast_membership() from public, anon, authenticated, service_role;
revoke execute on function private.broadcast_group_membership() from public, anon, authenticated, service_role;
revoke execute on function private.broadcast_approval() from public, anon, authenticated, service_role;

create trigger broadcast_added_or_removed after insert or delete on public.memberships
for each row execute function private.broadcast_membership();
create trigger broadcast_role after update of role on public.memberships
for each row when (old.role <> new.role) execute function private.broadcast_membership();
create trigger broadcast_groups after insert or delete on public.group_members
for each row execute function private.broadcast_group_membership();
create trigger broadcast_requested after insert on ai.approvals
for each row execute function private.broadcast_approval();
create trigger broadcast_status after update of status on ai.approvals
for each row when (old.status <> new.status) execute function private.broadcast_approval();
