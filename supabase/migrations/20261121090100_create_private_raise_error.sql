-- One place that shapes an error a caller may see: SQLSTATE PTnnn becomes the HTTP status, `detail` carries the code.
create function private.raise_error(
  status int,
  code text,
  message text,
  hint text default null,
  extra jsonb default '{}'
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'PT' || status::text,
    message = message,
    detail = (jsonb_build_object('code', code) || extra)::text,
    hint = coalesce(hint, '');
end;
$$;

comment on function private.raise_error(int, text, text, text, jsonb) is
  'Raises an error that PostgREST answers with HTTP `status`; `detail` is JSON {"code": ...} plus `extra`, `hint` says what to do next.';

revoke execute on function private.raise_error(int, text, text, text, jsonb) from public;
grant execute on function private.raise_error(int, text, text, text, jsonb) to authenticated, service_role;
