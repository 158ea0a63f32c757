create function private.refuse_tenant_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.tenant_id is distinct from old.tenant_id then
    perform private.raise_error(403, 'forbidden', 'A row cannot be moved to another tenant.', 'Create it in the other tenant instead.');
  end if;
  return new;
end;
$$;

comment on function private.refuse_tenant_change() is
  'Trigger: refuses every change of tenant_id, whoever asks. The composite foreign keys hold because of it.';

revoke execute on function private.refuse_tenant_change() from public;
