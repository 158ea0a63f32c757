create function private.touch_updated_at()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end;
$$;

comment on function private.touch_updated_at() is 'Trigger: sets updated_at to the time of the transaction.';

revoke execute on function private.touch_updated_at() from public;
