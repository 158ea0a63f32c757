-- What the executor asks with the lease of a run: configuration, whose token to mint, the trace. Who has lost it gets nothing.
begin;
select plan(50);
select tests.make_world();

create function pg_temp.start(who text, agent text default 'a')
returns text
language plpgsql
as $$
begin
  perform tests.sign_in(who);
  perform tests.keep('run', ai.start_run(tests.id('agent ' || agent), message => 'x')::text);
  perform tests.as_service();
  return tests.kept('run')::jsonb ->> 'run_id';
end;
$$;
create function pg_temp.id() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'id')::uuid; $$;
create function pg_temp.lease() returns uuid language sql as $$ select (tests.kept('run')::jsonb ->> 'lease_token')::uuid; $$;

-- Configuration.
select matches(pg_temp.start('member'), '^run_', 'a run');
select tests.as_superuser();
update ai.tools set input_schema = '{"type": "object"}' where id = tests.id('tool a');
update ai.agent_tools set created_at = now() + interval '1 second' where tool_type = 'custom';
insert into ai.agent_mcp_servers (tenant_id, agent_id, name, url, enabled) values (tests.tenant('a'), tests.id('agent a'), 'off', 'https://x.example', false);
insert into ai.hooks (tenant_id, agent_id, event, type, config, enabled, position)
values
  (tests.tenant('a'), tests.id('agent a'), 'PreToolUse', 'approval', '{}', false, 0),
  (tests.tenant('a'), tests.id('agent a'), 'PreToolUse', 'approval', '{"timeout": 9}', true, -0),
  (tests.tenant('a'), tests.id('agent a'), 'PreToolUse', 'rule', '{"condition": "last"}', true, 7);
select tests.as_service();
select tests.keep('configuration', ai.run_configuration(pg_temp.id(), pg_temp.lease())::text);
create function pg_temp.configuration(path text) returns jsonb language sql as $$ select jsonb_path_query_array(tests.kept('configuration')::jsonb, path::jsonpath); $$;
select is(
  tests.kept('configuration')::jsonb -> 'tools',
  jsonb_build_array(
    jsonb_build_object(
      'assignment_id', tests.id('assignment a'), 'tool_type', 'builtin', 'tool_name', 'database_query', 'tool_id', null, 'config_override', '{}'::jsonb,
      'name', null, 'description', null, 'input_schema', null, 'config', null, 'secret_headers', null, 'permissions', '{}'::jsonb
    ),
    jsonb_build_object(
      'assignment_id', tests.id('assignment out a'), 'tool_type', 'custom', 'tool_name', 'lookup', 'tool_id', tests.id('tool a'), 'config_override', '{}'::jsonb,
      'name', 'a_tool', 'description', 'x', 'input_schema', '{"type": "object"}'::jsonb, 'config', '{"endpoint": "https://tools.example/x"}'::jsonb, 'secret_headers', 'v1.sealed', 'permissions', '{}'::jsonb
    )
  ),
  'its tools, with the ciphertext of what they are sent with'
);
select is(
  tests.kept('configuration')::jsonb -> 'mcp_servers',
  jsonb_build_array(jsonb_build_object(
    'id', tests.id('server a'), 'name', 'a_server', 'url', 'https://mcp.example/x', 'config', '{}'::jsonb, 'secret_headers', 'v1.sealed', 'pinned_tools', '[{"name": "x"}]'::jsonb, 'permissions', '{}'::jsonb
  )),
  'its servers that are switched on'
);
select is(jsonb_array_length(pg_temp.configuration('$.hooks[*]')), 4, 'its hooks that are switched on');
select is(pg_temp.configuration('$.hooks[last].config'), '[{"condition": "last"}]', 'in their order');
select is(pg_temp.configuration('$.hooks[0].keyvalue().key'), '["id", "type", "event", "config", "matcher", "position"]', 'with what a hook is made of');
select is(
  tests.kept('configuration')::jsonb -> 'knowledge_bases',
  jsonb_build_array(jsonb_build_object('id', tests.id('base a'), 'name', 'a_base', 'description', null, 'config', '{}'::jsonb)),
  'its knowledge bases'
);
select unalike(tests.kept('configuration'), '%b\_%', 'and nothing of the other tenant');
select is(ai.run_configuration(pg_temp.id(), gen_random_uuid()), null, 'without the lease there is nothing');
select is(ai.run_configuration(tests.id('run a_member'), null), null, 'nor for a run that has ended');
select is(ai.run_configuration(gen_random_uuid(), pg_temp.lease()), null, 'nor for another run');
select pg_temp.start('b_member', 'b');
select is(jsonb_path_query_array(ai.run_configuration(pg_temp.id(), pg_temp.lease()), '$.tools[*].name'), '[null, "b_tool"]', 'an agent of another tenant has its own');
select pg_temp.start('member', 'demoted');
select is(
  jsonb_path_query_array(ai.run_configuration(pg_temp.id(), pg_temp.lease()), '$.mcp_servers'), '[[]]', 'what there is none of is an empty list'
);
select tests.as_superuser();
delete from ai.agents where id = tests.id('agent demoted');
select tests.as_service();
select is(
  ai.run_configuration(pg_temp.id(), pg_temp.lease()), '{"tools": [], "mcp_servers": [], "hooks": [], "knowledge_bases": [], "principal_role": "member"}'::jsonb, 'an agent that is gone has nothing'
);

-- Whose token.
select tests.keep('public', pg_temp.start('member'));
select is(
  ai.delegate_run(pg_temp.id(), pg_temp.lease()),
  jsonb_build_object('sub', tests.person('member'), 'tenant_id', tests.tenant('a'), 'agent_id', tests.id('agent a'), 'run_id', tests.kept('public')),
  'a token is minted for the person of the run'
);
select is(ai.delegate_run(pg_temp.id(), gen_random_uuid()), null, 'while the lease is held');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('member');
select tests.as_service();
select is(
  tests.outcome(format('select ai.delegate_run(%L, %L)', pg_temp.id(), pg_temp.lease())), 'PT403 forbidden', 'and not once the person has left, whatever the lease says'
);
select is(ai.delegate_run(pg_temp.id(), gen_random_uuid()), null, 'which only the holder of the lease is told');
select tests.as_superuser();
insert into public.memberships (tenant_id, user_id, role) values (tests.tenant('a'), tests.person('member'), 'viewer');
select tests.as_service();
select is(ai.delegate_run(pg_temp.id(), pg_temp.lease()) ->> 'sub', tests.person('member')::text, 'with less rights it goes on with less rights');
select pg_temp.start('backend_a');
select tests.as_superuser();
select tests.keep('backend', (select id from private.tenant_principals where tenant_id = tests.tenant('a'))::text);
select tests.as_service();
select is(ai.delegate_run(pg_temp.id(), pg_temp.lease()) ->> 'sub', tests.kept('backend'), 'the backend''s run is the backend''s');
select pg_temp.start('both', 'a');
select tests.as_superuser();
delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('both');
select tests.as_service();
select is(
  tests.outcome(format('select ai.delegate_run(%L, %L)', pg_temp.id(), pg_temp.lease())), 'PT403 forbidden', 'to be in another tenant is not to be in this one'
);
select is(ai.finish_run(pg_temp.id(), pg_temp.lease(), 'completed', 'x'), true, 'a run that has ended');
select is(ai.delegate_run(pg_temp.id(), pg_temp.lease()), null, 'has no token any more');

-- The trace.
select tests.as_superuser();
update public.memberships set role = 'member' where tenant_id = tests.tenant('a') and user_id = tests.person('member');
select tests.keep('public', pg_temp.start('member'));
create function pg_temp.record(lease uuid default null, tool_calls jsonb default '[]')
returns boolean
language sql
as $$
  select ai.record_run_trace(
    pg_temp.id(), coalesce(record.lease, pg_temp.lease()), '[{"step": 1}]', '[{"event": "tool_call"}]', '[{"step": 1, "content": "hm"}]', record.tool_calls
  );
$$;
select is(
  pg_temp.record(tool_calls => jsonb_build_array(
    jsonb_build_object(
      'step', 1, 'call_id', 'c1', 'tool_name', 'database_query', 'arguments', '{"query": "select 1"}'::jsonb, 'result', repeat('r', 60000), 'is_error', false, 'duration_ms', 12.6
    ),
    jsonb_build_object('step', 2, 'call_id', 'c2', 'tool_name', 'lookup', 'arguments', '{}'::jsonb, 'result', 'no such thing', 'is_error', true, 'duration_ms', 3)
  )),
  true, 'the trace of a run is stored'
);
select tests.sign_in('member');
select is(
  (select jsonb_build_array(steps, events, reasoning_steps, tool_call_count, tool_call_error_count, tool_call_duration_ms_total) from ai.agent_runs where run_id = tests.kept('public')),
  '[[{"step": 1}], [{"event": "tool_call"}], [{"step": 1, "content": "hm"}], 2, 1, 16]'::jsonb, 'with the run'
);
prepare calls as
  select step, call_id, tool_name, status, duration_ms, arguments, char_length(result) as length, arguments_preview, char_length(result_preview) as preview_length, error, agent_id
  from ai.tool_call_events
  where agent_run_id = pg_temp.id();
select set_eq(
  'calls',
  $$values
    (1, 'c1', 'database_query', 'success', 13::bigint, '{"query": "select 1"}'::jsonb, 50000, '{"query": "select 1"}', 200, null, tests.id('agent a')),
    (2, 'c2', 'lookup', 'error', 3, '{}', 13, '{}', 13, 'no such thing', tests.id('agent a'))$$,
  'and as calls of tools, long results cut'
);
select is((select count(*)::int from ai.tool_call_events), 3, 'which the person reads');
select tests.sign_in('admin');
select is((select count(*)::int from ai.tool_call_events), 0, 'and no admin');
select tests.sign_in('b_owner');
select is((select count(*)::int from ai.tool_call_events), 0, 'nor anybody elsewhere');
select tests.as_service();
select is(pg_temp.record(gen_random_uuid()), false, 'without the lease nothing is stored');
select tests.sign_in('member');
select is((select count(*)::int from ai.tool_call_events where agent_run_id = pg_temp.id()), 2, 'nor taken away');
select tests.as_service();
select is(
  pg_temp.record(tool_calls => '[{"step": 1, "call_id": "c1", "tool_name": "x", "is_error": false}]'), true, 'a later trace'
);
select is((select count(*)::int from ai.tool_call_events where agent_run_id = pg_temp.id()), 1, 'takes the place of the earlier');
select is(ai.record_run_trace(pg_temp.id(), pg_temp.lease(), null, null, null, null), true, 'nothing is an empty one');
select is((select tool_call_count || steps::text from ai.agent_runs where run_id = tests.kept('public')), '0[]', 'of no call');
select pg_temp.record(tool_calls => '[{"step": 1, "call_id": "c1", "tool_name": "x", "is_error": false}]');
select tests.as_superuser();
delete from ai.agents where id = tests.id('agent a');
select is((select count(*)::int from ai.tool_call_events where agent_run_id = pg_temp.id() and agent_id is null), 1, 'the calls outlive the agent');
delete from ai.agent_sessions where id = (select session_id from ai.agent_runs where id = pg_temp.id());
select is((select count(*)::int from ai.tool_call_events where agent_run_id = pg_temp.id()), 0, 'and go with the session');

-- The token of a call is used once.
select tests.as_service();
select is(ai.burn_tool_call_token(tests.id('jti'), now() + interval '30 seconds'), true, 'a token is used');
select is(ai.burn_tool_call_token(tests.id('jti'), now() + interval '30 seconds'), false, 'once');
select is(ai.burn_tool_call_token(tests.id('jti'), now() + interval '90 seconds'), false, 'whatever expiry it is said to have');
select is(ai.burn_tool_call_token(tests.id('jti 2'), now() + interval '30 seconds'), true, 'another is another');
select is(ai.burn_tool_call_token(tests.id('jti 3'), now() - interval '1 second'), false, 'one that has expired is not used any more');
select is(tests.outcome('select ai.burn_tool_call_token(null, now())'), '22004', 'one without an id is none');
select tests.as_superuser();
update private.burnt_tool_call_tokens set expires_at = now() - interval '1 second';
select tests.as_service();
select is(ai.burn_tool_call_token(tests.id('jti 4'), now() + interval '30 seconds'), true, 'the next');
select is((select array_agg(jti) from private.burnt_tool_call_tokens), array[tests.id('jti 4')], 'forgets those that have expired');

-- Nobody but the ledger.
select tests.sign_in('owner');
select is(tests.outcome(format('select ai.run_configuration(%L, %L)', pg_temp.id(), pg_temp.lease())), '42501', 'people do not ask for a configuration');
select is(tests.outcome(format('select ai.delegate_run(%L, %L)', pg_temp.id(), pg_temp.lease())), '42501', 'nor for a token');
select is(tests.outcome($$select ai.burn_tool_call_token(gen_random_uuid(), now())$$), '42501', 'and burn none');
select tests.as_anon();
select is(tests.outcome(format('select ai.run_configuration(%L, %L)', pg_temp.id(), pg_temp.lease())), '42501', 'nor does who is not signed in');
select is(
  tests.outcome(format($$select ai.record_run_trace(%L, %L, '[]', '[]', '[]', '[]')$$, pg_temp.id(), pg_temp.lease())), '42501', 'or write what happened'
);

select * from finish();
rollback;
