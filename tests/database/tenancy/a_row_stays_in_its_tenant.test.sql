-- P02, P03: not even the secret key moves a row to another tenant or hangs it under another tenant's parent.
begin;
create temporary table moved as
select tables.relation
from tests.tables()
where tables.relation not like 'private.%' and tables.relation <> 'public.tenants';
select plan((select count(*)::int from moved) + 15);
select tests.make_world();
grant select on moved to public;

select tests.as_service();
select is(
  tests.outcome_undone(format('update %s set tenant_id = %L where tenant_id = %L', moved.relation, tests.tenant('b'), tests.tenant('a'))),
  -- What is only added to, the secret key changes in no way.
  case when has_table_privilege('service_role', moved.relation, 'update') then 'PT403 forbidden' else '42501' end,
  moved.relation || ' stays'
)
from moved;

create function pg_temp.hang(statement text) returns text language sql as $$ select tests.outcome_undone(statement); $$;
select is(pg_temp.hang($$update ai.indexed_sources set source_id = tests.id('source b_open') where id = tests.id('indexed a_open')$$), '23503', 'an indexed source under a foreign source');
select is(pg_temp.hang($$update ai.chunks set chunk_index = 9, indexed_source_id = tests.id('indexed b_open') where id = tests.id('chunk a_open')$$), '23503', 'a chunk under a foreign index');
select is(pg_temp.hang($$update ai.agent_runs set session_id = tests.id('session b_member') where id = tests.id('run a_member')$$), '23503', 'a run in a foreign session');
select is(pg_temp.hang($$update ai.agent_sessions set agent_id = tests.id('agent b') where id = tests.id('session a_member')$$), '23503', 'a session with a foreign agent');
select is(pg_temp.hang($$update ai.message_citations set source_id = tests.id('source b_open') where run_id = tests.id('run a_member')$$), '23503', 'a citation of a foreign source');
select is(pg_temp.hang($$update public.chat_messages set session_id = tests.id('chat b') where session_id = tests.id('chat a')$$), '23503', 'a message in a foreign chat');
select is(pg_temp.hang($$update public.memories set agent_id = tests.id('agent b') where tenant_id = tests.tenant('a')$$), '23503', 'a memory of a foreign agent');
select is(pg_temp.hang($$update ai.agent_tools set agent_id = tests.id('agent b'), tool_name = 'storage_read' where id = tests.id('assignment a')$$), '23503', 'a tool with a foreign agent');
select is(pg_temp.hang($$update ai.agent_tools set tool_id = tests.id('tool b') where id = tests.id('assignment out a')$$), '23503', 'an agent with a foreign tool');
select is(pg_temp.hang($$update ai.agent_mcp_servers set agent_id = tests.id('agent b') where id = tests.id('server a')$$), '23503', 'a server with a foreign agent');
select is(pg_temp.hang($$update ai.hooks set agent_id = tests.id('agent b') where tenant_id = tests.tenant('a')$$), '23503', 'a hook with a foreign agent');
select is(pg_temp.hang($$update ai.tool_call_events set agent_run_id = tests.id('run b_member') where tenant_id = tests.tenant('a')$$), '23503', 'a call of a foreign run');
select is(pg_temp.hang($$update ai.approvals set run_id = tests.id('run b_member'), call_id = id::text where tenant_id = tests.tenant('a')$$), '23503', 'an approval of a foreign run');
select is(pg_temp.hang($$update ai.approvals set agent_id = tests.id('agent b') where tenant_id = tests.tenant('a')$$), '23503', 'an approval of a foreign agent');
select is(pg_temp.hang($$update ai.sources set storage_path = tests.tenant('b') || '/' || id || '/x' where id = tests.id('source a_open')$$), '23514', 'an object key under a foreign prefix');

select * from finish();
rollback;
