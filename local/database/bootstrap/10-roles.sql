-- LOCAL STACK ONLY. The roles a Supabase project has. Roles belong to the whole cluster, and several stacks may start on
-- one cluster at once: create what is missing, tolerate that somebody else was faster, change nothing that is right.
do $$
declare
  wanted record;
begin
  for wanted in
    select *
    from (
      values
        ('postgres', 'superuser login createdb createrole replication bypassrls'),
        ('anon', 'nologin noinherit'),
        ('authenticated', 'nologin noinherit'),
        ('service_role', 'nologin noinherit bypassrls'),
        ('authenticator', 'login noinherit'),
        ('supabase_admin', 'login superuser'),
        ('supabase_auth_admin', 'login noinherit createrole'),
        ('supabase_storage_admin', 'login noinherit'),
        ('supabase_realtime_admin', 'nologin noinherit'),
        ('supabase_replication_admin', 'nologin'),
        ('supabase_read_only_user', 'nologin bypassrls'),
        ('dashboard_user', 'nologin')
    ) as roles (name, attributes)
  loop
    begin
      if not exists (select from pg_roles where rolname = wanted.name) then
        execute format('create role %I %s', wanted.name, wanted.attributes);
      end if;
    exception
      when duplicate_object or unique_violation then null;
    end;
  end loop;

  for wanted in
    select granted.name as name, member.name as member
    from
      (
        values
          ('anon', array['authenticator', 'postgres', 'supabase_storage_admin', 'supabase_realtime_admin']),
          ('authenticated', array['authenticator', 'postgres', 'supabase_storage_admin', 'supabase_realtime_admin']),
          ('service_role', array['authenticator', 'postgres', 'supabase_storage_admin', 'supabase_realtime_admin']),
          ('supabase_auth_admin', array['postgres']),
          ('supabase_storage_admin', array['postgres']),
          ('supabase_realtime_admin', array['postgres'])
      ) as granted (name, members)
    cross join lateral unnest(granted.members) as member (name)
  loop
    begin
      if not exists (
        select
        from pg_auth_members
        where pg_auth_members.roleid = wanted.name::regrole and pg_auth_members.member = wanted.member::regrole
      ) then
        execute format('grant %I to %I', wanted.name, wanted.member);
      end if;
    exception
      when duplicate_object or unique_violation then null;
    end;
  end loop;

  for wanted in
    select *
    from (values ('anon', '3s'), ('authenticated', '8s'), ('authenticator', '8s')) as timeouts (name, statement_timeout)
  loop
    if not exists (
      select
      from pg_roles
      where rolname = wanted.name and rolconfig @> array['statement_timeout=' || wanted.statement_timeout]
    ) then
      execute format('alter role %I set statement_timeout = %L', wanted.name, wanted.statement_timeout);
    end if;
  end loop;
end
$$;
