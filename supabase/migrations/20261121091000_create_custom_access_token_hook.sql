create function private.only_tenant_of(user_id uuid)
returns uuid
language sql
stable
security definer -- the auth server signs people in before they have any rights
set search_path = ''
as $$
  select case when count(*) = 1 then (array_agg(memberships.tenant_id))[1] end
  from public.memberships
  where memberships.user_id = only_tenant_of.user_id;
$$;

comment on function private.only_tenant_of(uuid) is 'The tenant of a person who is a member of exactly one, else null.';

create function public.custom_access_token_hook(event jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  tenant_id uuid := private.only_tenant_of((event ->> 'user_id')::uuid);
  claims jsonb := event -> 'claims';
begin
  if tenant_id is null then
    claims := claims - 'tenant_id';
  else
    claims := jsonb_set(claims, '{tenant_id}', to_jsonb(tenant_id));
  end if;
  return jsonb_set(event, '{claims}', claims);
end;
$$;

comment on function public.custom_access_token_hook(jsonb) is
  'Called by the auth server for each token: adds a top-level tenant_id for people with exactly one tenant. It narrows; rights still come from memberships.';

revoke execute on function private.only_tenant_of(uuid) from public;
revoke execute on function public.custom_access_token_hook(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.only_tenant_of(uuid) to supabase_auth_admin;
grant execute on function public.custom_access_token_hook(jsonb) to supabase_auth_admin;
