-- What a tenant configures has a number, not only a size: a run reads all of it.
create function private.refuse_too_many_rows()
returns trigger
language plpgsql
security definer -- counts all rows of the parent, not those the caller sees
set search_path = ''
as $$
declare
  parent_column constant text := tg_argv[0];
  most constant int := tg_argv[1]::int;
  parent constant uuid := (to_jsonb(new) ->> parent_column)::uuid;
  present int;
begin
  -- Two that insert at once would not see each other's row.
  perform pg_advisory_xact_lock(hashtextextended(tg_table_name || ' of ' || parent::text, 0));
  execute format('select count(*) from %I.%I where %I = $1', tg_table_schema, tg_table_name, parent_column) into present using parent;
  if present > most then
    perform private.raise_error(
      409, 'limit_reached', format('There can be no more than %s of these.', most), 'Delete what is not needed any more.',
      jsonb_build_object('limit', most)
    );
  end if;
  return null;
end;
$$;

comment on function private.refuse_too_many_rows() is
  'Trigger after insert, with a column and a number: refuses more rows than that with the same value there. After the insert, so that policies have spoken: who may not insert learns nothing of the count.';

revoke execute on function private.refuse_too_many_rows() from public;
