-- The trigger fires for each row that a transaction has staged. The first takes them all; each of the others looked for what was left from its
-- own row on, past all the rows that were just removed: the square of their number. Now it looks for its own row only.
create or replace function private.chain_audit()
returns trigger
language plpgsql
security definer -- whoever commits
set search_path = ''
set enable_seqscan = off -- the waiting rows are the last of a table full of dead ones
as $$
declare
  tenant uuid;
begin
  -- The first, which has the lowest id, takes them all. Rows of other transactions are invisible: none of them is ever committed.
  if not exists (select from private.audit_pending where audit_pending.id = new.id) then
    return null;
  end if;
  -- In one order for everybody.
  for tenant in
    select distinct audit_pending.tenant_id from private.audit_pending where audit_pending.id >= new.id order by audit_pending.tenant_id
  loop
    perform private.append_audit(tenant, new.id);
  end loop;
  return null;
end;
$$;
