-- What strategies ask a model for counts beside `strategy` or under `extra`, as the functions read it: the API writes it flat, others may not.
create function private.indexing_setting(config jsonb, key text)
returns jsonb
language sql
immutable
set search_path = ''
as $$
  select coalesce(nullif(config -> key, 'null'), nullif(config #> array['extra', key], 'null'));
$$;

comment on function private.indexing_setting(jsonb, text) is
  'A setting of an indexing_config that asks a model: that beside the strategy, else that under extra. Null: neither is there.';

create function private.reads_page_images(config jsonb)
returns boolean
language sql
immutable
set search_path = ''
as $$
  select coalesce(config ->> 'strategy' = 'doc2json' and private.indexing_setting(config, 'use_images') = 'true', false);
$$;

comment on function private.reads_page_images(jsonb) is 'Whether indexing with these settings shows images of pages to a model.';

revoke execute on function private.indexing_setting(jsonb, text) from public, anon, authenticated, service_role;
revoke execute on function private.reads_page_images(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.indexing_setting(jsonb, text) to authenticated, service_role;
grant execute on function private.reads_page_images(jsonb) to service_role;
