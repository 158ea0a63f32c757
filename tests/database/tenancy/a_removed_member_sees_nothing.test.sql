-- Same session, same claims, next statement: whatever the token says, the membership is gone.
begin;
select plan(30);
select tests.make_world();

create function pg_temp.remove(who text)
returns void language plpgsql as $$
declare
  claims text := current_setting('request.jwt.claims', true);
  role_before text := current_user;
begin
  perform set_config('role', 'none', true);
  delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person(who);
  perform set_config('role', role_before, true);
  if claims is distinct from current_setting('request.jwt.claims', true) then
    raise exception 'the claims must not change';
  end if;
end;
$$;

select tests.sign_in('member', jsonb_build_object('tenant_id', tests.tenant('a')));
select isnt_empty('select id from ai.sources', 'a member reads sources');
select isnt_empty('select id from public.chat_sessions', 'and their chats');
select isnt_empty($$select * from ai.search('tariff')$$, 'and finds');
select isnt_empty('select id from ai.tools', 'reads tools');
select isnt_empty('select id from ai.context_handlers', 'their retrievals');
select isnt_empty('select id from ai.approvals', 'and their approvals');
select isnt_empty('update ai.agent_tools set config_override = config_override returning id', 'changes the tools of their agents');
select pg_temp.remove('member');
select is_empty('select id from public.tenants', 'removed: no tenant');
select is_empty('select id from ai.sources', 'no source, not even an own one');
select is_empty('select id from ai.chunks', 'no chunk');
select is_empty('select item_id from private.search_vectors', 'no vector');
select is_empty($$select * from ai.search('tariff')$$, 'search finds nothing');
select is_empty('select id from public.chat_sessions', 'no chat');
select is_empty('select id from ai.agent_runs', 'no run');
select is_empty('select id from public.memories', 'no memory');
select is_empty('select id from ai.tools', 'no tool');
select is_empty('select id from ai.agent_tools union all select id from ai.agent_mcp_servers union all select id from ai.hooks', 'nothing an agent was given');
select is_empty('select id from ai.context_handlers', 'no retrieval');
select is_empty('select id from ai.tool_call_events', 'no call of a tool');
select is_empty('select id from ai.approvals', 'no approval');
select is_empty('update ai.agent_tools set config_override = config_override returning id', 'changes no tool of their agents');
select is_empty('delete from ai.hooks returning id', 'takes no hook away');
select is(
  tests.outcome(format($$insert into ai.context_handlers (tenant_id, query) values (%L, 'x')$$, tests.tenant('a'))), '42501', 'stores no retrieval'
);
select is(tests.outcome(format('select ai.create_session(%L)', tests.id('agent a'))), 'PT404 agent_not_found', 'opens no session');
select is_empty($$update ai.sources set metadata = '{"x": 1}' returning id$$, 'changes nothing');
select is_empty('delete from ai.sources returning id', 'deletes nothing');
select is(
  tests.outcome($$select ai.register_source('x.txt', '.txt', 'text/plain', 1, repeat('a', 64))$$), 'PT403 forbidden', 'uploads nothing'
);
select is(
  tests.outcome(format($$select public.begin_chat_turn(%L, message => 'hello')$$, tests.id('chat a'))), 'PT404 session_not_found',
  'cannot go on with their own chat'
);
select is(
  tests.outcome(format($$select ai.start_run(%L, message => 'hello')$$, tests.id('agent a'))), 'PT404 agent_not_found', 'starts no run'
);

-- One of two tenants.
select tests.sign_in('both');
select pg_temp.remove('both');
select set_eq('select id from public.tenants', array[tests.tenant('b')], 'whoever leaves one of two tenants keeps the other');

select * from finish();
rollback;
