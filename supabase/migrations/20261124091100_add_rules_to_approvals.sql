-- Who may decide about a call stands on its approval, so that a later change of the rule changes no question that was asked.
alter table ai.approvals
add column decider_role text,
add column decider_group_id uuid,
add column four_eyes boolean not null default false,
add column quorum int not null default 1,
add column consumed_at timestamptz,
add constraint approvals_tenant_id_id_key unique (tenant_id, id),
add constraint approvals_decider_role_is_known check (decider_role in ('viewer', 'member', 'admin', 'owner')),
add constraint approvals_quorum_has_a_range check (quorum between 1 and 20),
add constraint approvals_consumed_when_decided check (consumed_at is null or status <> 'pending');

comment on column ai.approvals.decider_role is 'Role in the tenant that who decides holds at least; null, without a group: the person of the run or an admin.';
comment on column ai.approvals.decider_group_id is
  'Group that who decides is in. No reference: when the group is gone nobody is in it, and that must not make the decision anybody''s.';
comment on column ai.approvals.four_eyes is 'True: the person of the run does not decide.';
comment on column ai.approvals.quorum is 'People who have to approve. One who denies is enough.';
comment on column ai.approvals.consumed_at is 'When the run took the answer. An approval lets the one call begin that it was given for, and no other.';
comment on column ai.approvals.input_hash is
  'SHA-256 (hex) of tool_name, a line feed and tool_input as text: what was approved, and nothing else, may be called.';

create index approvals_pending_expires_at_idx on ai.approvals (expires_at) where status = 'pending';

create table ai.approval_decisions (
  tenant_id uuid not null,
  approval_id uuid not null,
  principal_id uuid not null,
  user_id uuid,
  approved boolean not null,
  reason text,
  created_at timestamptz not null default now(),
  constraint approval_decisions_pkey primary key (approval_id, principal_id),
  constraint approval_decisions_approval_fkey foreign key (tenant_id, approval_id) references ai.approvals (tenant_id, id) on delete cascade,
  constraint approval_decisions_user_id_fkey foreign key (user_id) references auth.users (id) on delete set null,
  constraint approval_decisions_reason_has_a_length check (char_length(reason) <= 2000)
);

comment on table ai.approval_decisions is 'What each person said about a call that waited; one answer per person, never changed.';
comment on column ai.approval_decisions.principal_id is 'Subject of the token it was decided with.';
comment on column ai.approval_decisions.user_id is 'The person; null for the tenant''s backend and for an account that is gone.';

create index approval_decisions_tenant_id_approval_id_idx on ai.approval_decisions (tenant_id, approval_id);
create index approval_decisions_user_id_idx on ai.approval_decisions (user_id);

alter table ai.approval_decisions enable row level security;
alter table ai.approval_decisions force row level security;
revoke all on table ai.approval_decisions from anon, authenticated, service_role;
grant select (tenant_id, approval_id, user_id, approved, reason, created_at) on table ai.approval_decisions to authenticated;

create trigger refuse_tenant_change before update on ai.approval_decisions for each row execute function private.refuse_tenant_change();

create function private.is_decider(approval ai.approvals, principal_id uuid)
returns boolean
language plpgsql
stable
security definer -- asked about other people than the caller
set search_path = ''
set enable_seqscan = off
as $$
declare
  role text;
  is_backend boolean := false;
begin
  select memberships.role into role
  from public.memberships
  where memberships.tenant_id = approval.tenant_id and memberships.user_id = is_decider.principal_id;
  if role is null then
    select true into is_backend
    from private.tenant_principals
    where tenant_principals.tenant_id = approval.tenant_id and tenant_principals.id = is_decider.principal_id;
    if is_backend is not true or approval.four_eyes or approval.quorum > 1 then
      return false;
    end if;
    role := 'admin';
  end if;
  if approval.four_eyes and approval.user_id is not distinct from is_decider.principal_id then
    return false;
  end if;
  if approval.decider_role is null and approval.decider_group_id is null then
    return role in ('admin', 'owner') or approval.user_id is not distinct from is_decider.principal_id;
  end if;
  return (approval.decider_role is null or private.role_rank(role) >= private.role_rank(approval.decider_role))
    and (
      approval.decider_group_id is null
      or exists (
        select from public.group_members
        where group_members.tenant_id = approval.tenant_id and group_members.group_id = approval.decider_group_id
          and group_members.user_id = is_decider.principal_id
      )
    );
end;
$$;

comment on function private.is_decider(ai.approvals, uuid) is
  'Whether the memberships of this moment let this principal decide about this approval: the role and the group it asks for, or without either the person of the run and admins; '
  'never the person of the run where four eyes are asked for, nor the tenant''s backend where several people are.';

create function private.may_decide_approval(approval ai.approvals)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  act constant jsonb := auth.jwt() -> 'act';
begin
  if not coalesce(approval.tenant_id = any (private.caller_tenants()), false) then
    return false;
  end if;
  -- An agent that acts for a person does not approve in their name. Nor does a backend for the several people that are asked for.
  if act is not null and (act ->> 'sub' is distinct from 'service_key' or approval.four_eyes or approval.quorum > 1) then
    return false;
  end if;
  return private.is_decider(approval, auth.uid());
end;
$$;

comment on function private.may_decide_approval(ai.approvals) is
  'Whether the caller may decide about this approval, should it wait: who private.is_decider() says, with a token of their own. The tenant''s backend may speak for people where one decides.';

revoke execute on function private.is_decider(ai.approvals, uuid) from public;
revoke execute on function private.may_decide_approval(ai.approvals) from public;
grant execute on function private.is_decider(ai.approvals, uuid) to authenticated;
grant execute on function private.may_decide_approval(ai.approvals) to authenticated;

create policy "whoever may decide about an approval reads it" on ai.approvals
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())) and private.may_decide_approval(approvals));

create policy "who reads an approval reads its decisions" on ai.approval_decisions
for select to authenticated
using (
  exists (
    select from ai.approvals
    where approvals.tenant_id = approval_decisions.tenant_id and approvals.id = approval_decisions.approval_id
  )
);
