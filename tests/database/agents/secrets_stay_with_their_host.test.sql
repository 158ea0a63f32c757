-- Tools and MCP servers: what they are sent with is written by admins and read by nobody, and does not follow to another host.
begin;
select plan(66);
select tests.make_world();

-- As superuser: what is stored.
create function pg_temp.stored(relation text, label text, columns text)
returns text
language plpgsql
as $$
declare
  role_before text := current_setting('role');
  result text;
begin
  perform set_config('role', 'none', true);
  execute format('select concat_ws('' | '', %s) from %s where id = %L', columns, relation, tests.id(label)) into result;
  perform set_config('role', role_before, true);
  return result;
end;
$$;
create function pg_temp.tool() returns text language sql as $$ select pg_temp.stored('ai.tools', 'tool a', $s$coalesce(secret_headers, 'none'), header_names$s$); $$;
create function pg_temp.server() returns text language sql as $$
  select pg_temp.stored('ai.agent_mcp_servers', 'server a', $s$coalesce(secret_headers, 'none'), header_names, coalesce(pinned_tools, 'null'), pinned_at is not null$s$);
$$;
create function pg_temp.point(endpoint text, rest text default '')
returns text
language sql
as $$
  select tests.outcome(format(
    'update ai.tools set config = %L %s where id = %L', jsonb_build_object('endpoint', endpoint), rest, tests.id('tool a')
  ));
$$;
create function pg_temp.connect(url text, rest text default '')
returns text
language sql
as $$ select tests.outcome(format('update ai.agent_mcp_servers set url = %L %s where id = %L', url, rest, tests.id('server a'))); $$;

-- Nobody reads them.
select tests.sign_in('owner');
select is(tests.outcome('select secret_headers from ai.tools'), '42501', 'an owner does not read the secrets of a tool');
select is(tests.outcome('select * from ai.tools'), '42501', 'not with everything else either');
select is(tests.outcome('update ai.tools set description = secret_headers'), '42501', 'nor moves them where they could be read');
select is(tests.outcome('update ai.tools set secret_headers = secret_headers'), '42501', 'nor onto themselves');
select is(tests.outcome($$update ai.tools set description = 'x' where secret_headers like 'v1%'$$), '42501', 'nor guesses at them');
select is(tests.outcome($$update ai.tools set description = 'x' returning secret_headers$$), '42501', 'nor has them returned');
select is(tests.outcome('select secret_headers from ai.agent_mcp_servers'), '42501', 'nor those of a server');
select is(tests.outcome('select * from ai.agent_mcp_servers'), '42501', 'not with everything else either');
select is(tests.outcome('update ai.agent_mcp_servers set name = secret_headers'), '42501', 'nor moves them');
select tests.sign_in('backend_a');
select is(tests.outcome('select secret_headers from ai.tools'), '42501', 'nor does the backend');
select tests.sign_in('viewer');
select is((select header_names from ai.tools), '{Authorization}', 'their names are for everybody in the tenant');
select is((select header_names from ai.agent_mcp_servers), '{Authorization}', 'those of servers, too');

-- Admins write them.
select tests.sign_in('admin');
select is(tests.outcome($$update ai.tools set secret_headers = 'v1.new', header_names = '{X-Api-Key}' where name = 'a_tool'$$), 'ok', 'an admin writes them');
select is(pg_temp.tool(), 'v1.new | {X-Api-Key}', 'without reading them');
select is(tests.outcome($$update ai.agent_mcp_servers set secret_headers = 'v1.new', header_names = '{X-Api-Key}'$$), 'ok', 'and those of a server');
select is(pg_temp.server(), 'v1.new | {X-Api-Key} | [{"name": "x"}] | t', 'which keeps its tools');
select is(tests.outcome($$insert into ai.tools (name, description, input_schema, config, secret_headers) values ('x', 'x', '{}', '{"endpoint": "https://x.example"}', 'x')$$), '42501', 'not before there is an id to bind them to');
select tests.sign_in('member');
select is(tests.outcome($$update ai.tools set secret_headers = 'mine'$$), 'ok', 'a member writes');
select is(pg_temp.tool(), 'v1.new | {X-Api-Key}', 'nothing');
select is(pg_temp.point('https://mine.example/'), 'ok', 'and points the tool');
select is(pg_temp.stored('ai.tools', 'tool a', $$config ->> 'endpoint'$$), 'https://tools.example/x', 'nowhere');
select tests.as_anon();
select is(tests.outcome($$update ai.tools set secret_headers = 'mine'$$), '42501', 'nobody signed in');


-- The ledger reads the ciphertext of a server, to ask for its tools.
create function pg_temp.sealed(server text, letter text)
returns text
language sql
as $$ select ai.mcp_server_secrets(tests.id('server ' || server), tests.tenant(letter)); $$;
select tests.as_service();
select is(pg_temp.sealed('a', 'a'), 'v1.new', 'the ledger reads them for the tenant of the server');
select is(pg_temp.sealed('a', 'b'), null, 'and for no other');
select is(pg_temp.sealed('b', 'b'), 'v1.sealed', 'each its own');
select tests.sign_in('owner');
select is(tests.outcome($$select pg_temp.sealed('a', 'a')$$), '42501', 'an owner does not read that way');
select tests.sign_in('backend_a');
select is(tests.outcome($$select pg_temp.sealed('a', 'a')$$), '42501', 'nor does the backend');
select tests.as_anon();
select is(tests.outcome($$select pg_temp.sealed('a', 'a')$$), '42501', 'nor who is not signed in');

-- Another host.
select tests.sign_in('admin');
select is(pg_temp.point('https://TOOLS.example/y?z=1#a'), 'ok', 'another path of the same host');
select is(pg_temp.tool(), 'v1.new | {X-Api-Key}', 'keeps the secrets');
select is(tests.outcome($$update ai.tools set description = 'better'$$), 'ok', 'another description');
select is(pg_temp.tool(), 'v1.new | {X-Api-Key}', 'keeps them, too');
-- What must clear them: each step from the same start.
create function pg_temp.after_pointing_to(endpoint text)
returns text
language plpgsql
as $$
begin
  perform pg_temp.point('https://tools.example/x', $s$, secret_headers = 'v1.kept', header_names = '{A}'$s$);
  return pg_temp.point(endpoint) || ': ' || pg_temp.tool();
end;
$$;
select is(pg_temp.after_pointing_to('https://tools.example/x'), 'ok: v1.kept | {A}', 'the same');
select is(pg_temp.after_pointing_to(endpoint), 'ok: none | {}', endpoint || ' loses them')
from unnest(array[
  'https://evil.example/x', 'http://tools.example/x', 'https://tools.example:8443/x', 'https://tools.example.evil.example/',
  'https://sub.tools.example/x', 'https://tools.example.:443/'
]) as endpoint;
select is(pg_temp.after_pointing_to(endpoint), '23514: v1.kept | {A}', format('%L is no endpoint', endpoint))
from unnest(array[
  'https://tools.example@evil.example/', 'https://evil.example\@tools.example/', 'https://tools.example\.evil.example/', 'https:///evil.example/', 'file:///etc/passwd',
  E'https://tools.example/\nx', 'https://tools.example/x y', ' https://tools.example/x', 'https://töols.example/x', 'tools.example/x', ''
]) as endpoint;
select is(tests.outcome($$update ai.tools set config = '{}'$$), '23514', 'a tool without an endpoint is none');
select is(tests.outcome($$update ai.tools set config = '{"endpoint": null}'$$), '23514', 'nor one with null');
select is(pg_temp.point('https://new.example/', $$, secret_headers = 'v1.for-new', header_names = '{B}'$$), 'ok', 'secrets that come with a new host');
select is(pg_temp.tool(), 'v1.for-new | {B}', 'are for it');
select is(
  tests.outcome($$update ai.tools set config = '{"endpoint": "https://new.example/", "headers": {"Authorization": "Bearer x"}}'$$), '23514',
  'the readable part of a tool holds no headers'
);

-- Servers: any other url, and the accepted tools go as well.
select is(pg_temp.connect('https://mcp.example/y'), 'ok', 'another url');
select is(pg_temp.server(), 'none | {} | null | f', 'loses secrets and accepted tools');
select is(tests.outcome($$update ai.agent_mcp_servers set pinned_tools = '[{"name": "y"}]'$$), 'ok', 'an admin accepts the tools');
select is(pg_temp.server(), 'none | {} | [{"name": "y"}] | t', 'and it is noted when');
select is(pg_temp.connect('https://mcp.example/z', $$, secret_headers = 'v1.z', header_names = '{Z}', pinned_tools = '[{"name": "z"}]'$$), 'ok', 'secrets may come with the new url');
select is(pg_temp.server(), 'v1.z | {Z} | null | f', 'tools may not: nobody has looked at them there');
select is(tests.outcome($$update ai.agent_mcp_servers set pinned_at = now()$$), '42501', 'nobody says when');
select is(tests.outcome($$update ai.agent_mcp_servers set config = '{"headers": {}}'$$), '23514', 'the readable part of a server holds no headers');
select is(pg_temp.connect('https://user:password@mcp.example/'), '23514', 'nor does its url hold a password');
select is(tests.outcome($$update ai.agent_mcp_servers set enabled = false$$), 'ok', 'switching it off');
select is(pg_temp.server(), 'v1.z | {Z} | null | f', 'changes nothing else');

select * from finish();
rollback;
