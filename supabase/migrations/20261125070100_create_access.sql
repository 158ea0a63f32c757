-- Who can see this document and why; what can this person see. Both run with the caller's own rights, so what they say is about
-- rows the caller can read anyway: the document, its grants, the groups and the people of the tenant.

-- The explanation repeats the rule of the policies on ai.sources, so it has to know whether they are still the shipped ones.
insert into private.shipped_policies (relation, versions, fingerprint)
select
  policies.polrelid, string_agg(policies.oid::text || ':' || policies.xmin::text, ',' order by policies.polname),
  private.policy_fingerprint(policies.polrelid)
from pg_catalog.pg_policy as policies
where policies.polrelid = 'ai.sources'::regclass
group by policies.polrelid;

create function private.check_source_policies()
returns void
language plpgsql
stable
security definer -- shipped_policies is readable by nobody
set search_path = ''
as $$
begin
  if not exists (
    select from private.shipped_policies
    where shipped_policies.relation = 'ai.sources'::regclass
      and (
        shipped_policies.versions = (
          select string_agg(policies.oid::text || ':' || policies.xmin::text, ',' order by policies.polname)
          from pg_catalog.pg_policy as policies
          where policies.polrelid = shipped_policies.relation
        )
        or shipped_policies.fingerprint = private.policy_fingerprint(shipped_policies.relation)
      )
  ) then
    perform private.raise_error(
      409, 'conflict', 'This project has policies of its own on ai.sources, so access cannot be explained.',
      'What a person sees is what they get when they read ai.sources.'
    );
  end if;
end;
$$;

comment on function private.check_source_policies() is
  'PT409 conflict when the policies of ai.sources are other ones than those whose rule ai.source_access() and ai.person_access() repeat.';

create function private.access_reasons(source_id uuid, visibility text, owner_id uuid, user_id uuid)
returns jsonb
language sql
stable
security invoker -- reads grants and groups as the caller may
set search_path = ''
as $$
  select coalesce(jsonb_agg(reasons.reason order by reasons.place, reasons.reason ->> 'group_name', reasons.reason ->> 'group_id'), '[]')
  from (
    select 1 as place, jsonb_build_object('reason', 'owner') as reason
    where access_reasons.owner_id = access_reasons.user_id
    union all
    select 2, jsonb_build_object('reason', 'tenant')
    where access_reasons.visibility = 'tenant'
    union all
    select 3, jsonb_build_object('reason', 'granted')
    where access_reasons.visibility = 'granted'
      and exists (
        select from ai.source_grants
        where source_grants.source_id = access_reasons.source_id and source_grants.user_id = access_reasons.user_id
      )
    union all
    select 4, jsonb_build_object('reason', 'group', 'group_id', groups.id, 'group_name', groups.name)
    from ai.source_grants
    join public.group_members on group_members.group_id = source_grants.group_id and group_members.user_id = access_reasons.user_id
    join public.groups on groups.id = group_members.group_id
    where access_reasons.visibility = 'granted' and source_grants.source_id = access_reasons.source_id
  ) as reasons;
$$;

comment on function private.access_reasons(uuid, text, uuid, uuid) is
  'Why a member sees a source, [] where they do not: [{reason: owner | tenant | granted | group, group_id?, group_name?}]. The rule of the policy auth_read_sources.';

create function ai.source_access(source_id uuid)
returns table (user_id uuid, email text, role text, reasons jsonb)
language plpgsql
stable
security invoker -- the policies say whether the caller sees the source at all
set search_path = ''
rows 50
as $$
#variable_conflict use_column
declare
  source record;
begin
  perform private.check_source_policies();
  select sources.id, sources.tenant_id, sources.visibility, sources.owner_id into source
  from ai.sources
  where sources.id = source_access.source_id;
  if source.id is null then
    perform private.raise_error(404, 'not_found', 'Source not found.', 'Check its id.');
  end if;
  return query
    select people.user_id, people.email, people.role, people.reasons
    from (
      select
        members.user_id, members.email, members.role, private.role_rank(members.role) as rank,
        private.access_reasons(source.id, source.visibility, source.owner_id, members.user_id) as reasons
      from private.people(source.tenant_id) as members
    ) as people
    where people.reasons <> '[]'
    order by people.rank desc, people.email, people.user_id;
end;
$$;

comment on function ai.source_access(uuid) is
  'Who can see a source the caller can see, and why: reasons is [{reason: owner | tenant | granted | group, group_id?, group_name?}]. The tenant''s backend sees everything of its '
  'tenant and is not listed. PT404 for a source the caller cannot see; PT409 conflict where the policies of ai.sources are not the shipped ones.';

create function ai.person_access(
  tenant_id uuid,
  user_id uuid default null,
  max_rows int default 50,
  before_created_at timestamptz default null,
  before_source_id uuid default null
)
returns table (source_id uuid, name text, file_type text, visibility text, owner_id uuid, created_at timestamptz, reasons jsonb)
language plpgsql
stable
security invoker -- lists nothing but sources the caller can read
set search_path = ''
rows 50
as $$
#variable_conflict use_column
declare
  person constant uuid := coalesce(person_access.user_id, private.caller_user_id());
  group_ids uuid[];
begin
  perform private.check_source_policies();
  if not exists (
    select from public.memberships where memberships.tenant_id = person_access.tenant_id and memberships.user_id = person
  ) then
    perform private.raise_error(404, 'not_found', 'There is nobody of this id in the tenant.', 'Check the user_id and the tenant_id.');
  end if;
  group_ids := array(
    select group_members.group_id
    from public.group_members
    where group_members.user_id = person and group_members.tenant_id = person_access.tenant_id
  );
  return query
    select
      found.id, found.name, found.file_type, found.visibility, found.owner_id, found.created_at,
      private.access_reasons(found.id, found.visibility, found.owner_id, person)
    from (
      select sources.id, sources.name, sources.file_type, sources.visibility, sources.owner_id, sources.created_at
      from ai.sources
      where sources.tenant_id = person_access.tenant_id
        and (
          sources.visibility = 'tenant'
          or sources.owner_id = person
          or (
            sources.visibility = 'granted'
            and exists (
              select from ai.source_grants
              where source_grants.source_id = sources.id
                and (source_grants.user_id = person or source_grants.group_id = any (group_ids))
            )
          )
        )
        and (
          before_created_at is null
          or sources.created_at < before_created_at
          or (sources.created_at = before_created_at and sources.id > before_source_id)
        )
      order by sources.created_at desc, sources.id
      limit least(greatest(coalesce(max_rows, 50), 1), 500)
    ) as found
    order by found.created_at desc, found.id;
end;
$$;

comment on function ai.person_access(uuid, uuid, int, timestamptz, uuid) is
  'What a member of a tenant (default: the caller) can see of what the caller can see, and why, the newest first; at most max_rows (1 to 500), after the row with before_created_at and '
  'before_source_id. reasons as in ai.source_access(). PT404 for who is in no tenant of the caller''s; PT409 conflict where the policies of ai.sources are not the shipped ones.';

revoke execute on function private.check_source_policies() from public, anon, authenticated, service_role;
revoke execute on function private.access_reasons(uuid, text, uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.source_access(uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.person_access(uuid, uuid, int, timestamptz, uuid) from public, anon, authenticated, service_role;
grant execute on function private.check_source_policies() to authenticated;
grant execute on function private.access_reasons(uuid, text, uuid, uuid) to authenticated;
grant execute on function ai.source_access(uuid) to authenticated;
grant execute on function ai.person_access(uuid, uuid, int, timestamptz, uuid) to authenticated;
