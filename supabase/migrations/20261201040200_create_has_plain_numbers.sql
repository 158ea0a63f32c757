-- `1e131071` is a number of ten bytes to pg_column_size(), and one of 131,072 digits to everybody who reads the row: a few
-- kilobytes of them fill the memory of whoever lists what a colleague has written. 64 KiB of metadata was half a gigabyte.
create function private.has_plain_numbers(value jsonb)
returns boolean
language sql
immutable
parallel safe
set search_path = ''
as $$
  select not exists (
    select
    from jsonb_array_elements(jsonb_path_query_array(has_plain_numbers.value, 'strict $.** ? (@.type() == "number")')) as number (value)
    -- What JavaScript can read, and no more digits behind the point than it writes.
    where abs(number.value::numeric) >= 1e309 or scale(number.value::numeric) > 400
  );
$$;

comment on function private.has_plain_numbers(jsonb) is
  'Whether all numbers in it are of a size that other languages read: a jsonb column that clients write is as long as it says only then.';

revoke execute on function private.has_plain_numbers(jsonb) from public;
-- Checks run as whoever writes.
grant execute on function private.has_plain_numbers(jsonb) to authenticated, service_role;
