-- Text before the path of a URL. What it is compared for are URLs that the checks of their tables let through: there it is
-- everything that decides where a request goes.
create function private.url_origin(url text)
returns text
language sql
immutable
set search_path = ''
as $$
  select lower(substring(url from '^[A-Za-z]+://[^/?#]+'));
$$;

comment on function private.url_origin(text) is 'Scheme, host and port of a URL, in lower case.';

revoke execute on function private.url_origin(text) from public;
grant execute on function private.url_origin(text) to authenticated, service_role;

create table ai.tools (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  name text not null,
  description text not null,
  type text not null default 'http',
  input_schema jsonb not null,
  config jsonb not null,
  header_names text[] not null default '{}',
  secret_headers text,
  created_by uuid default private.caller_user_id(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint tools_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint tools_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint tools_tenant_id_id_key unique (tenant_id, id),
  constraint tools_name_has_a_form check (name ~ '^[A-Za-z0-9_-]{1,64}$'),
  constraint tools_description_has_a_length check (char_length(btrim(description)) between 1 and 10000),
  constraint tools_type_has_a_form check (type ~ '^[A-Za-z0-9_-]{1,50}$'),
  constraint tools_input_schema_is_an_object check (jsonb_typeof(input_schema) = 'object' and pg_column_size(input_schema) <= 65536),
  constraint tools_config_is_an_object check (jsonb_typeof(config) = 'object' and pg_column_size(config) <= 65536),
  constraint tools_config_holds_no_headers check (not config ? 'headers'),
  -- No name or password, no backslash, nothing that a parser of URLs would drop: the host is what stands there.
  constraint tools_endpoint_has_a_form check (
    coalesce(
      jsonb_typeof(config -> 'endpoint') = 'string' and char_length(config ->> 'endpoint') <= 2048
      and config ->> 'endpoint' ~* '^https?://[a-z0-9.:_[\]-]+([/?#][!-[\]-~]*)?$',
      false
    )
  ),
  constraint tools_header_names_have_a_form check (
    cardinality(header_names) <= 50 and header_names::text !~ '[{,]NULL[,}]'
    and header_names::text ~ '^\{([A-Za-z0-9!#$%&''*+.^_`|~-]{1,200}(,[A-Za-z0-9!#$%&''*+.^_`|~-]{1,200})*)?\}$'
  ),
  constraint tools_secret_headers_has_a_length check (char_length(secret_headers) between 1 and 65536)
);

comment on table ai.tools is 'HTTP tools of a tenant. What they are sent leaves the tenant, so admins make them.';
comment on column ai.tools.name is 'What the model may call it by.';
comment on column ai.tools.input_schema is 'JSON Schema of the arguments; they are validated before a call.';
comment on column ai.tools.config is '{endpoint, method, timeout_seconds, forward_user_jwt, session_token}. No secrets: members read it.';
comment on column ai.tools.header_names is 'Names of the headers in secret_headers, for people to read.';
comment on column ai.tools.secret_headers is 'Ciphertext of the headers that requests carry. Written by admins, read by the ledger only; lost when the endpoint moves to another host.';

create index tools_tenant_id_created_at_idx on ai.tools (tenant_id, created_at desc, id);
create index tools_created_by_idx on ai.tools (created_by);

alter table ai.tools enable row level security;
alter table ai.tools force row level security;
revoke all on table ai.tools from anon, authenticated, service_role;
grant select (
  id, tenant_id, name, description, type, input_schema, config, header_names, created_by, created_at, updated_at
) on table ai.tools to authenticated;
grant insert (tenant_id, name, description, type, input_schema, config, header_names) on table ai.tools to authenticated;
grant update (name, description, input_schema, config, header_names, secret_headers) on table ai.tools to authenticated;
grant delete on table ai.tools to authenticated;
grant select, insert, update, delete on table ai.tools to service_role;

create policy "members read the tools of their tenants" on ai.tools
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "admins create tools" on ai.tools
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins change tools" on ai.tools
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))))
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins delete tools" on ai.tools
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create function private.forget_secrets_of_other_host()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if private.url_origin(new.config ->> 'endpoint') is distinct from private.url_origin(old.config ->> 'endpoint')
    -- Those given along with the new address are meant for it. Nobody who may change a tool can read them, to give them again.
    and new.secret_headers is not distinct from old.secret_headers
  then
    new.secret_headers := null;
    new.header_names := '{}';
  end if;
  return new;
end;
$$;

comment on function private.forget_secrets_of_other_host() is
  'Trigger: secrets were given for one host; a tool that is pointed at another one loses them, unless new ones come with the change.';

revoke execute on function private.forget_secrets_of_other_host() from public;

create trigger refuse_tenant_change before update on ai.tools for each row execute function private.refuse_tenant_change();
create trigger forget_secrets_of_other_host before update on ai.tools for each row execute function private.forget_secrets_of_other_host();
create trigger touch_updated_at before update on ai.tools for each row execute function private.touch_updated_at();
create trigger refuse_too_many_rows after insert on ai.tools for each row execute function private.refuse_too_many_rows('tenant_id', '100');
