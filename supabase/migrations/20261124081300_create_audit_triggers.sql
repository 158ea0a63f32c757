-- One function per kind of statement; what is put down of a row is listed where the trigger is made, so that nothing a person
-- has written gets into the log by accident. Rows are compared and listed by the names of their columns.
create function private.columns_of(row_values jsonb, columns text[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  result jsonb := '{}';
  name text;
begin
  foreach name in array columns loop
    if row_values -> name <> 'null' then
      result := result || jsonb_build_object(name, row_values -> name);
    end if;
  end loop;
  return result;
end;
$$;

comment on function private.columns_of(jsonb, text[]) is 'The named columns of a row that are not null.';

create function private.stage_audit_of_rows(row_values jsonb[], action text, subject_type text, subject_column text, columns text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  shown constant text[] := string_to_array(columns, ' ');
  tenant record;
begin
  for tenant in
    select
      (changed.value ->> 'tenant_id')::uuid as id,
      jsonb_agg(
        jsonb_build_object(
          'action', stage_audit_of_rows.action, 'subject_type', stage_audit_of_rows.subject_type,
          'subject_id', changed.value ->> stage_audit_of_rows.subject_column,
          'detail', private.columns_of(changed.value, shown)
        )
        order by changed.place
      ) as entries
    from unnest(stage_audit_of_rows.row_values) with ordinality as changed (value, place)
    group by 1
  loop
    -- What goes with its tenant is not told one by one.
    if exists (select from public.tenants where tenants.id = tenant.id) then
      perform private.stage_audit(tenant.id, tenant.entries);
    end if;
  end loop;
end;
$$;

comment on function private.stage_audit_of_rows(jsonb[], text, text, text, text) is 'One event for each of these rows, staged once per tenant.';

create function private.audit_inserted()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
begin
  perform private.stage_audit_of_rows(array(select to_jsonb(new_rows) from new_rows), tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3]);
  return null;
end;
$$;

comment on function private.audit_inserted() is
  'Trigger after insert per statement, new rows as new_rows: (action, subject_type, column of subject_id, columns for detail): an event per row.';

create function private.audit_deleted()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
begin
  perform private.stage_audit_of_rows(array(select to_jsonb(old_rows) from old_rows), tg_argv[0], tg_argv[1], tg_argv[2], tg_argv[3]);
  return null;
end;
$$;

comment on function private.audit_deleted() is
  'Trigger after delete per statement, old rows as old_rows: (action, subject_type, column of subject_id, columns for detail): an event per row, none when the tenant is gone.';

create function private.audit_updated()
returns trigger
language plpgsql
security definer -- nobody else may stage events
set search_path = ''
as $$
declare
  old_row constant jsonb := to_jsonb(old);
  new_row constant jsonb := to_jsonb(new);
  fields constant text[] := array(
    select columns.key
    from jsonb_each(new_row) as columns
    where columns.value is distinct from old_row -> columns.key and columns.key <> 'updated_at'
    order by columns.key collate "C"
  );
  shown constant text[] := array(select field from unnest(fields) as field where field = any (string_to_array(tg_argv[4], ' ')));
begin
  if fields = '{}' then
    return null;
  end if;
  perform private.record_audit(
    new.tenant_id, tg_argv[0], tg_argv[1], new_row ->> tg_argv[2],
    private.columns_of(new_row, string_to_array(tg_argv[3], ' ')) || jsonb_build_object('fields', to_jsonb(fields)) || case
      when shown = '{}' then '{}'
      else jsonb_build_object('from', private.columns_of(old_row, shown), 'to', private.columns_of(new_row, shown))
    end
  );
  return null;
end;
$$;

comment on function private.audit_updated() is
  'Trigger after update per row: (action, subject_type, column of subject_id, columns for detail, columns whose values are put down as from and to): which fields have changed. No event when none has.';

revoke execute on function private.columns_of(jsonb, text[]) from public;
revoke execute on function private.stage_audit_of_rows(jsonb[], text, text, text, text) from public;
revoke execute on function private.audit_inserted() from public;
revoke execute on function private.audit_deleted() from public;
revoke execute on function private.audit_updated() from public;
