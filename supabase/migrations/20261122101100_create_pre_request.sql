-- `Prefer: count=planned` and `count=estimated` are answered from the planner's statistics, which are kept over the rows of all
-- tenants: how many rows others have would show in the number. No policy and no setting of PostgREST closes that, so such a
-- request is refused before it runs: PostgREST calls the function that pgrst.db_pre_request names first in every transaction.
-- Of several Prefer headers PostgREST shows it only the last: see docs/deploy.md.
--
-- It is called as the role of the request, so anon must be able to call it. That is why it is the one function outside of
-- `private` that anon may call: there, anon would need USAGE on a schema full of functions that only their grants protect;
-- `ai` is a schema anon enters anyway, and who calls this one as an RPC is told nothing. (Nor is it in `public`: Supabase's
-- guide tells people to make a public.check_request of their own.) It raises by itself because private.raise_error is in there.
create function ai.check_request()
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  -- PostgREST writes all names in lower case. Without a request, or without headers, there is nothing to refuse.
  prefer constant text := nullif(current_setting('request.headers', true), '')::json ->> 'prefer';
begin
  -- Wider than what PostgREST takes for one of the two: it minds case and spaces, a version to come may not.
  if prefer ~* '\mcount\s*=\s*"?(planned|estimated)\M' then
    raise exception using
      errcode = 'PT400',
      message = 'Planned and estimated counts are not available: they would tell how many rows others have. Use count=exact.',
      detail = jsonb_build_object('code', 'invalid_request')::text,
      hint = 'Send the header Prefer: count=exact, or ask for no count.';
  end if;
end;
$$;

comment on function ai.check_request() is
  'Called by PostgREST before every request (pgrst.db_pre_request). Refuses counts from the planner''s statistics: they are over the rows of all tenants. A pre-request function of your own should call it.';

revoke execute on function ai.check_request() from public, anon, authenticated, service_role;
grant execute on function ai.check_request() to anon, authenticated, service_role;

do $$
declare
  present text;
begin
  select substr(setting, length('pgrst.db_pre_request=') + 1) into present
  from pg_catalog.pg_db_role_setting
  cross join unnest(pg_db_role_setting.setconfig) as setting
  where pg_db_role_setting.setrole = 'authenticator'::regrole
    and pg_db_role_setting.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
    and setting like 'pgrst.db\_pre\_request=%'
  order by pg_db_role_setting.setdatabase desc
  limit 1;

  if coalesce(present, '') = '' then
    -- In this database only: roles belong to the whole cluster, and others in it may not have the function.
    execute format('alter role authenticator in database %I set pgrst.db_pre_request = %L', current_database(), 'ai.check_request');
  else
    -- Replacing somebody's own check could open what it closes.
    raise warning 'PostgREST already calls % before every request, and goes on to.', present
      using hint = 'Let that function call ai.check_request(); without it, planned counts tell tenants about each other.';
  end if;
end;
$$;

notify pgrst, 'reload config';
