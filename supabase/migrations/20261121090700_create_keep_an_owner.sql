create function private.keep_an_owner()
returns trigger
language plpgsql
security definer -- must count owners whoever the caller is
set search_path = ''
as $$
begin
  if old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') then
    -- Two owners leaving at once must not each see the other: lock the tenant. A tenant that is going takes its owners along.
    perform from public.tenants where tenants.id = old.tenant_id for update;
    if found and not exists (
      select from public.memberships
      where memberships.tenant_id = old.tenant_id and memberships.role = 'owner' and memberships.user_id <> old.user_id
    ) and exists (select from auth.users where users.id = old.user_id) then
      perform private.raise_error(409, 'last_owner', 'A tenant needs an owner.', 'Make somebody else an owner first.');
    end if;
  end if;
  return coalesce(new, old);
end;
$$;

comment on function private.keep_an_owner() is
  'Trigger: refuses to remove or demote the last owner of a tenant (PT409 last_owner), unless the tenant or the account itself goes.';

revoke execute on function private.keep_an_owner() from public;

create trigger keep_an_owner before update or delete on public.memberships for each row execute function private.keep_an_owner();
