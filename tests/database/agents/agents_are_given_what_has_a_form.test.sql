-- Assignments, hooks, tools: names that cannot be mistaken for others, sizes, and how many there may be.
begin;
select plan(89);
select tests.make_world();

create function pg_temp.assign(tool_name text, tool_type text default 'builtin', tool uuid default null)
returns text
language sql
as $$
  select tests.outcome(format(
    'insert into ai.agent_tools (agent_id, tool_type, tool_name, tool_id) values (%L, %L, %L, %L)', tests.id('agent a'), tool_type, tool_name, tool
  ));
$$;
create function pg_temp.define(name text default 'x', description text default 'x', type text default 'http', input_schema text default '{}', config jsonb default '{}')
returns text
language sql
as $$
  select tests.outcome(format(
    'insert into ai.tools (name, description, type, input_schema, config) values (%L, %L, %L, %L, %L)', name, description, type, input_schema,
    '{"endpoint": "https://x.example"}'::jsonb || config
  ));
$$;
create function pg_temp.hook(event text, type text, matcher text default null, config text default '{}', "position" int default 0)
returns text
language sql
as $$
  select tests.outcome(format(
    'insert into ai.hooks (agent_id, event, type, matcher, config, position) values (%L, %L, %L, %L, %L, %L)', tests.id('agent a'), event, type, matcher, config, position
  ));
$$;
create function pg_temp.connect(name text, url text default 'https://x.example', transport text default 'http')
returns text
language sql
as $$
  select tests.outcome(format(
    'insert into ai.agent_mcp_servers (agent_id, name, url, transport) values (%L, %L, %L, %L)', tests.id('agent a'), name, url, transport
  ));
$$;
create function pg_temp.large() returns jsonb language sql as $$
  select jsonb_build_object('a', string_agg(md5(i::text), '')) from generate_series(1, 3000) as i;
$$;

select tests.sign_in('admin');

-- Names: T10.
select is(pg_temp.assign('storage_read'), 'ok', 'a built-in tool');
select is(pg_temp.assign('storage_read'), '23505', 'once');
select is(pg_temp.assign('shell'), '23514', 'none that we do not have');
select is(pg_temp.assign('storage_write', 'builtin', tests.id('tool a')), '23514', 'a built-in tool has no definition');
select is(pg_temp.assign('mine', 'custom'), '23514', 'a custom one has');
select is(pg_temp.assign('mine', 'custom', tests.id('tool a')), 'ok', 'of the tenant');
select is(pg_temp.assign('mine', 'custom', tests.id('tool a')), '23505', 'names are unique in an agent');
select is(pg_temp.assign('lookup', 'custom', tests.id('tool a')), '23505', 'so that no tool is another');
select is(pg_temp.assign(name, 'custom', tests.id('tool a')), '23514', format('%L is not free', name))
from unnest(array['knowledge_search', 'database_query', 'web_search', 'mcp__a__b', 'MCP__a__b', '', 'two words', 'a.b', repeat('x', 65)]) as name;
select is(pg_temp.assign('other', 'workflow'), '23514', 'other types there are not');
select is(tests.outcome(format('update ai.agent_tools set config_override = %L', pg_temp.large())), '23514', 'an override has a size');
select is(tests.outcome($$update ai.agent_tools set config_override = '[]'$$), '23514', 'and is an object');
select is(tests.outcome($$update ai.agent_tools set tool_name = 'web_search'$$), '42501', 'a tool does not become another');
select is(pg_temp.connect('files'), 'ok', 'a server');
select is(pg_temp.connect('files'), '23505', 'has a name of its own in the agent');
select is(pg_temp.connect('my files', transport => 'sse'), 'ok', 'which may be anything');
select is(pg_temp.connect(' '), '23514', 'but blank');
select is(pg_temp.connect(E'a\nb'), '23514', 'without control characters');
select is(pg_temp.connect(repeat('x', 101)), '23514', 'of some length');
select is(pg_temp.connect('x', 'ws://x.example'), '23514', 'its url is one of HTTP');
select is(pg_temp.connect('x', transport => 'stdio'), '23514', 'nobody starts a program here');
select is(tests.outcome(format('update ai.agent_mcp_servers set header_names = %L', '{a b}')), '23514', 'its headers have names');
select is(tests.outcome($$update ai.agent_mcp_servers set secret_headers = ''$$), '23514', 'their ciphertext is not empty');
select is(tests.outcome($$update ai.agent_mcp_servers set secret_headers = repeat('x', 65537)$$), '23514', 'nor endless');
select is(tests.outcome($$update ai.agent_mcp_servers set config = '[]'$$), '23514', 'its configuration is an object');
select is(tests.outcome(format('update ai.agent_mcp_servers set config = %L', pg_temp.large())), '23514', 'of a size');
select is(tests.outcome($$update ai.agent_mcp_servers set pinned_tools = '{}'$$), '23514', 'its tools are a list');
select is(
  tests.outcome($$update ai.agent_mcp_servers set pinned_tools = jsonb_build_array((select string_agg(md5(i::text), '') from generate_series(1, 17000) as i))$$), '23514',
  'of a size'
);

-- Definitions.
select is(pg_temp.define(), 'ok', 'a tool');
select is(pg_temp.define(), 'ok', 'names of definitions may repeat');
select is(pg_temp.define(name => 'two words'), '23514', 'a model must be able to say them');
select is(pg_temp.define(name => repeat('x', 65)), '23514', 'they have a length');
select is(pg_temp.define(description => ' '), '23514', 'a description says something');
select is(pg_temp.define(description => repeat('x', 10001)), '23514', 'and comes to an end');
select is(pg_temp.define(type => 'a type'), '23514', 'a type is a word');
select is(pg_temp.define(input_schema => '[]'), '23514', 'a schema is an object');
select is(pg_temp.define(input_schema => pg_temp.large()::text), '23514', 'of a size');
select is(pg_temp.define(config => pg_temp.large()), '23514', 'so is the rest');
select is(pg_temp.define(config => '{"endpoint": 1}'), '23514', 'an endpoint is a text');
select is(pg_temp.define(config => jsonb_build_object('endpoint', 'https://x.example/' || repeat('x', 2048))), '23514', 'of a length');
select is(tests.outcome(format('update ai.tools set header_names = %L', names)), '23514', format('%s are no headers', names))
from unnest(array['{"a b"}', '{null}', '{""}', '{{a,b},{c,d}}', E'{"a\nb"}', '{"x:y"}']) as names;
select is(tests.outcome(format('update ai.tools set header_names = array(select ''x'' || i from generate_series(1, 51) as i)')), '23514', 'nor so many');
select is(tests.outcome($$update ai.tools set header_names = '{X-Api-Key,authorization,x_1}'$$), 'ok', 'these are');
select is(tests.outcome($$update ai.tools set secret_headers = ''$$), '23514', 'a ciphertext is not empty');
select is(tests.outcome($$update ai.tools set secret_headers = repeat('x', 65537)$$), '23514', 'nor endless');
select is(tests.outcome($$update ai.tools set type = 'x'$$), '42501', 'a tool keeps its type');

-- Hooks.
select is(pg_temp.hook('PreToolUse', 'rule', 'database_query'), 'ok', 'a rule before a tool');
select is(pg_temp.hook('PostToolUse', 'http', 'database_query'), 'ok', 'a request after it');
select is(pg_temp.hook('before_run', 'http'), '23514', 'an event that never comes');
select is(pg_temp.hook('PreToolUse', 'webhook'), '23514', 'a type we do not have');
select is(pg_temp.hook('OnRunComplete', 'rule'), '23514', 'a rule where nothing can be refused any more');
select is(pg_temp.hook('PostToolUse', 'rule'), '23514', 'nor after a tool');
select is(pg_temp.hook('OnRunStart', 'approval'), '23514', 'an approval of something that is no call');
select is(pg_temp.hook('OnRunStart', 'rule', 'database_query'), '23514', 'a tool where there is none');
select is(pg_temp.hook('PreToolUse', 'rule', ''), '23514', 'a tool without a name');
select is(pg_temp.hook('PreToolUse', 'rule', repeat('x', 201)), '23514', 'or with an endless one');
select is(pg_temp.hook('PreToolUse', 'rule', config => '[]'), '23514', 'a configuration is an object');
select is(pg_temp.hook('PreToolUse', 'rule', config => pg_temp.large()::text), '23514', 'a configuration has a size');
select is(pg_temp.hook('PreToolUse', 'http', config => '{"url": "https://x.example", "headers": {"a": "b"}}'), '23514', 'and holds no secrets');
select is(pg_temp.hook('PreToolUse', 'rule', "position" => -1), '23514', 'a position has a range');

-- What the ledger writes.
select tests.as_service();
select is(tests.outcome($$update ai.approvals set status = 'maybe' where id = tests.id('approval a_member')$$), '23514', 'a decision is one we know');
select is(tests.outcome($$update ai.approvals set status = 'approved' where id = tests.id('approval a_member')$$), '23514', 'and has a time');
select is(tests.outcome($$update ai.approvals set input_hash = 'x' where id = tests.id('approval a_member')$$), '23514', 'and is about arguments');
select is(tests.outcome($$update ai.tool_call_events set status = 'maybe'$$), '23514', 'a call succeeds or fails');
select tests.sign_in('admin');

-- Numbers. Who may not insert is told so, not how many there are.
select is(
  tests.outcome($$insert into ai.hooks (agent_id, event, type, config) select tests.id('agent a'), 'OnRunStart', 'rule', '{}' from generate_series(1, 46)$$), 'ok',
  'up to 50 hooks'
);
select is(pg_temp.hook('OnRunStart', 'rule'), 'PT409 limit_reached', 'and no more');
select is(tests.kept('last_detail')::jsonb ->> 'limit', '50', 'which is said');
select tests.sign_in('viewer');
select is(pg_temp.hook('OnRunStart', 'rule'), '42501', 'not to who may not add any');
select tests.sign_in('admin');
select is(
  tests.outcome($$insert into ai.hooks (agent_id, event, type, config) values (tests.id('agent left'), 'OnRunStart', 'rule', '{}')$$), 'ok', 'another agent has its own'
);
select is(
  tests.outcome($$insert into ai.agent_tools (agent_id, tool_type, tool_name, tool_id) select tests.id('agent a'), 'custom', 'x' || i, tests.id('tool a') from generate_series(1, 47) as i$$),
  'PT409 limit_reached', 'up to 50 tools'
);
select is(
  tests.outcome($$insert into ai.agent_tools (agent_id, tool_type, tool_name, tool_id) select tests.id('agent a'), 'custom', 'x' || i, tests.id('tool a') from generate_series(1, 46) as i$$),
  'ok', 'and no more'
);
select is(
  tests.outcome($$insert into ai.agent_mcp_servers (agent_id, name, url) select tests.id('agent a'), 'x' || i, 'https://x.example' from generate_series(1, 18) as i$$),
  'PT409 limit_reached', 'up to 20 servers'
);
select is(
  tests.outcome($$insert into ai.agent_mcp_servers (agent_id, name, url) select tests.id('agent a'), 'x' || i, 'https://x.example' from generate_series(1, 17) as i$$), 'ok',
  'and no more'
);
select is(
  tests.outcome($$insert into ai.tools (name, description, input_schema, config) select 'x', 'x', '{}', '{"endpoint": "https://x.example"}' from generate_series(1, 97)$$), 'ok',
  'up to 100 definitions'
);
select is(pg_temp.define(), 'PT409 limit_reached', 'and no more');
select tests.sign_in('b_owner');
select is(pg_temp.define(), 'ok', 'another tenant has its own');

select * from finish();
rollback;
