create table ai.agent_mcp_servers (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null default private.acting_tenant_id(),
  agent_id uuid not null,
  name text not null,
  transport text not null default 'http',
  url text not null,
  header_names text[] not null default '{}',
  secret_headers text,
  config jsonb not null default '{}',
  enabled boolean not null default true,
  pinned_tools jsonb,
  pinned_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint agent_mcp_servers_agent_fkey foreign key (tenant_id, agent_id) references ai.agents (tenant_id, id) on delete cascade,
  constraint agent_mcp_servers_agent_id_name_key unique (agent_id, name),
  constraint agent_mcp_servers_name_has_a_form check (name ~ '^[^[:cntrl:]]{1,100}$' and btrim(name) <> ''),
  constraint agent_mcp_servers_transport_is_known check (transport in ('http', 'sse')),
  constraint agent_mcp_servers_url_has_a_form check (
    char_length(url) <= 2048 and url ~* '^https?://[a-z0-9.:_[\]-]+([/?#][!-[\]-~]*)?$'
  ),
  constraint agent_mcp_servers_header_names_have_a_form check (
    cardinality(header_names) <= 50 and header_names::text !~ '[{,]NULL[,}]'
    and header_names::text ~ '^\{([A-Za-z0-9!#$%&''*+.^_`|~-]{1,200}(,[A-Za-z0-9!#$%&''*+.^_`|~-]{1,200})*)?\}$'
  ),
  constraint agent_mcp_servers_secret_headers_has_a_length check (char_length(secret_headers) between 1 and 65536),
  constraint agent_mcp_servers_config_is_an_object check (jsonb_typeof(config) = 'object' and pg_column_size(config) <= 65536),
  constraint agent_mcp_servers_config_holds_no_headers check (not config ? 'headers'),
  constraint agent_mcp_servers_pinned_tools_is_a_list check (
    jsonb_typeof(pinned_tools) = 'array' and pg_column_size(pinned_tools) <= 524288
  ),
  constraint agent_mcp_servers_pinned_at_matches_tools check ((pinned_tools is null) = (pinned_at is null))
);

comment on table ai.agent_mcp_servers is 'MCP servers an agent takes tools from. What they are sent leaves the tenant, so admins connect them.';
comment on column ai.agent_mcp_servers.name is 'Part of the names of its tools, mcp__name__tool.';
comment on column ai.agent_mcp_servers.transport is 'http; sse is stored for clients that send it, and spoken to as http.';
comment on column ai.agent_mcp_servers.header_names is 'Names of the headers in secret_headers, for people to read.';
comment on column ai.agent_mcp_servers.secret_headers is 'Ciphertext of the headers that requests carry. Written by admins, read by the ledger only; lost when the url changes.';
comment on column ai.agent_mcp_servers.pinned_tools is '[{name, description, input_schema, read_only, hash}] as an admin has accepted them; null before that, and again when the url changes.';

create index agent_mcp_servers_tenant_id_agent_id_idx on ai.agent_mcp_servers (tenant_id, agent_id, created_at);

alter table ai.agent_mcp_servers enable row level security;
alter table ai.agent_mcp_servers force row level security;
revoke all on table ai.agent_mcp_servers from anon, authenticated, service_role;
grant select (
  id, tenant_id, agent_id, name, transport, url, header_names, config, enabled, pinned_tools, pinned_at, created_at, updated_at
) on table ai.agent_mcp_servers to authenticated;
grant insert (tenant_id, agent_id, name, transport, url, header_names, config, enabled) on table ai.agent_mcp_servers to authenticated;
grant update (name, transport, url, header_names, secret_headers, config, enabled, pinned_tools) on table ai.agent_mcp_servers to authenticated;
grant delete on table ai.agent_mcp_servers to authenticated;
grant select, insert, update, delete on table ai.agent_mcp_servers to service_role;

create policy "members read the MCP servers of their tenants" on ai.agent_mcp_servers
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create policy "admins connect MCP servers" on ai.agent_mcp_servers
for insert to authenticated
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins change MCP servers" on ai.agent_mcp_servers
for update to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))))
with check (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create policy "admins disconnect MCP servers" on ai.agent_mcp_servers
for delete to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids('admin'))));

create function private.forget_what_the_server_was_trusted_with()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.url <> old.url then
    new.pinned_tools := null;
    -- Those given along with the new address are meant for it. Nobody who may change a server can read them, to give them again.
    if new.secret_headers is not distinct from old.secret_headers then
      new.secret_headers := null;
      new.header_names := '{}';
    end if;
  end if;
  if new.pinned_tools is null then
    new.pinned_at := null;
  elsif new.pinned_tools is distinct from old.pinned_tools then
    new.pinned_at := now();
  end if;
  return new;
end;
$$;

comment on function private.forget_what_the_server_was_trusted_with() is
  'Trigger: an MCP server with another url loses its accepted tools and, unless new ones come with the change, its secrets. Notes when tools are accepted.';

revoke execute on function private.forget_what_the_server_was_trusted_with() from public;

create trigger refuse_tenant_change before update on ai.agent_mcp_servers for each row execute function private.refuse_tenant_change();
create trigger forget_what_the_server_was_trusted_with before update on ai.agent_mcp_servers
for each row execute function private.forget_what_the_server_was_trusted_with();
create trigger touch_updated_at before update on ai.agent_mcp_servers for each row execute function private.touch_updated_at();
create trigger refuse_too_many_rows after insert on ai.agent_mcp_servers for each row execute function private.refuse_too_many_rows('agent_id', '20');
