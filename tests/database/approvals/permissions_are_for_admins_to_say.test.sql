-- Who may call a tool: what can be said, who says it, and that a run is told with the role of its person.
begin;
select plan(39);
select tests.make_world();

-- What can be said.
select is(private.is_tool_permissions(value::jsonb), true, value)
from unnest(array[
  '{}',
  '{"default": "ask", "roles": {"viewer": "deny", "backend": "allow"}}',
  '{"approval": {"role": "admin", "group_id": null, "four_eyes": true, "quorum": 1, "expires_in_seconds": 604800, "message": "Send it?"}}',
  '{"approval": {"group_id": "33333333-3333-4333-8333-333333333333", "quorum": 20}}'
]) as value;
select is(private.is_tool_permissions(value::jsonb), false, coalesce(left(value, 100), 'nothing'))
from unnest(array[
  null, 'null', '[]', '"ask"', '{"default": "maybe"}', '{"default": ["ask"]}', '{"default": null}', '{"other": 1}', '{"roles": {"nobody": "ask"}}',
  '{"roles": {"admin": true}}', '{"roles": []}', '{"approval": null}', '{"approval": {"quorum": 0}}', '{"approval": {"quorum": 1.5}}',
  '{"approval": {"quorum": "1"}}', '{"approval": {"quorum": 21}}', '{"approval": {"expires_in_seconds": -1}}', '{"approval": {"four_eyes": 1}}',
  '{"approval": {"group_id": "desk"}}', '{"approval": {"role": "backend"}}', '{"approval": {"self": true}}', '{"tools": {"x": {}}}',
  '{"approval": {"message": "' || repeat('x', 501) || '"}}'
]) as value;
select is(private.is_tool_permissions('{"tools": {"send": {"default": "ask"}}}', true), true, 'of a server, single tools');
select is(private.is_tool_permissions('{"tools": {"send": {"tools": {}}}}', true), false, 'which hold no others');

-- Who says it.
select tests.sign_in('admin');
select is(
  tests.outcome($$update ai.agent_tools set permissions = '{"default": "ask"}' where id = tests.id('assignment quiet a')$$), 'ok', 'an admin says it'
);
select is(
  tests.outcome($$update ai.agent_tools set permissions = '{"default": "always"}' where id = tests.id('assignment quiet a')$$), '23514', 'what means nothing is refused'
);
select tests.sign_in('member');
update ai.agent_tools set permissions = '{}', config_override = '{"x": 1}' where id = tests.id('assignment quiet a');
delete from ai.agent_tools where id = tests.id('assignment quiet a');
select is(
  (select jsonb_build_array(permissions, config_override) from ai.agent_tools where id = tests.id('assignment quiet a')),
  '[{"default": "ask"}, {}]', 'who made the agent neither lifts it nor takes the tool away, to give it again'
);
select is(
  tests.outcome($$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'database_query')$$),
  '23505', 'nor gives it twice'
);
select is(
  tests.outcome($$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'storage_read')$$),
  'ok', 'other tools are theirs as before'
);
select tests.sign_in('admin');
select is(
  tests.outcome($$update ai.agent_mcp_servers set permissions = '{"tools": {"x": {"default": "deny"}}}' where id = tests.id('server a')$$), 'ok', 'of servers too'
);

-- The run is told.
select tests.sign_in('member');
select tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x')::text);
select tests.sign_in('admin');
update ai.agent_tools set permissions = '{"roles": {"member": "deny"}}' where id = tests.id('assignment a');
select tests.as_service();
select tests.keep(
  'configuration', ai.run_configuration((tests.kept('run')::jsonb ->> 'id')::uuid, (tests.kept('run')::jsonb ->> 'lease_token')::uuid)::text
);
select is(tests.kept('configuration')::jsonb ->> 'principal_role', 'member', 'whom it acts for');
select is(
  jsonb_path_query_first(tests.kept('configuration')::jsonb, '$.tools[*] ? (@.tool_name == "database_query").permissions'),
  '{"roles": {"member": "deny"}}', 'what they may call'
);
select is(
  tests.kept('configuration')::jsonb #> '{mcp_servers,0,permissions}', '{"tools": {"x": {"default": "deny"}}}', 'of a server as well'
);
select tests.sign_in('backend_a');
select tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x')::text);
select tests.as_service();
select is(
  ai.run_configuration((tests.kept('run')::jsonb ->> 'id')::uuid, (tests.kept('run')::jsonb ->> 'lease_token')::uuid) ->> 'principal_role', 'backend',
  'the backend has no role of a person'
);

select * from finish();
rollback;
