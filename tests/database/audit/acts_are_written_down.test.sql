-- Who did what, as whom and through which agent: what is in the log after each act, and what is not.
begin;
select plan(61);
select tests.make_world();

-- What a statement of `who` leaves in the log of tenant A: 'action detail' of each event, in their order. Ids of our own making are
-- written by their names.
create function pg_temp.chained()
returns void
language plpgsql
as $$
begin
  perform tests.as_superuser();
  set constraints private.chain_audit immediate;
  set constraints private.chain_audit deferred;
end;
$$;
create function pg_temp.acts(who text, statement text, claims jsonb default '{}')
returns text
language plpgsql
as $$
declare
  before bigint;
begin
  perform pg_temp.chained();
  select audit_heads.seq into before from private.audit_heads where tenant_id = tests.tenant('a');
  case who
    when 'service' then perform tests.as_service();
    when 'nobody' then perform tests.as_superuser();
    else perform tests.sign_in(who, claims);
  end case;
  execute statement;
  perform pg_temp.chained();
  return (
    select string_agg(action || ' ' || detail, E'\n' order by seq) from ai.audit_events where tenant_id = tests.tenant('a') and seq > before
  );
end;
$$;
-- The latest event of tenant A.
create function pg_temp.latest() returns ai.audit_events language sql as $$
  select * from ai.audit_events where tenant_id = tests.tenant('a') order by seq desc limit 1;
$$;

-- Who.
select is(pg_temp.acts('admin', $$insert into public.groups (tenant_id, name) values (tests.tenant('a'), 'Secret group')$$), 'group.created {}', 'an admin makes a group');
select is(
  (select jsonb_build_array(actor_id, act, subject_type, run_id) from pg_temp.latest()), jsonb_build_array(tests.person('admin'), null, 'group', null), 'by themselves'
);
select is((select occurred_at <= recorded_at and recorded_at <= clock_timestamp() from pg_temp.latest()), true, 'at a time');
select is(
  pg_temp.acts(
    'member', $$update ai.agents set name = 'Another', system_prompt = 'Say nothing.' where id = tests.id('agent quiet a')$$,
    jsonb_build_object('act', jsonb_build_object('sub', 'agent', 'agent_id', tests.id('agent a'), 'run_id', (select run_id from ai.agent_runs where id = tests.id('run a_member')), 'x', 'y'))
  ),
  'agent.updated {"fields": ["name", "system_prompt"]}', 'an agent changes an agent: which fields, not what is in them'
);
select is(
  (select jsonb_build_array(actor_id, act - 'run_id', act ->> 'run_id' like 'run\_%', run_id) from pg_temp.latest()),
  jsonb_build_array(tests.person('member'), jsonb_build_object('sub', 'agent', 'agent_id', tests.id('agent a')), true, tests.id('run a_member')),
  'in the name of a person, in that run'
);
select pg_temp.acts('backend_a', $$update public.tenants set name = 'x' where id = tests.tenant('a')$$, '{"act": {"sub": "service_key"}}');
select is(
  (select jsonb_build_array(action, actor_id, act) from pg_temp.latest()),
  jsonb_build_array('tenant.renamed', (select id from private.tenant_principals where tenant_id = tests.tenant('a')), '{"sub": "service_key"}'::jsonb),
  'the backend, with the secret key'
);
select pg_temp.acts('member', $$update ai.agents set name = 'x' where id = tests.id('agent quiet a')$$, '{"act": {"sub": "service_key"}}');
select is(
  (select jsonb_build_array(actor_id, act) from pg_temp.latest()), jsonb_build_array(tests.person('member'), '{"sub": "service_key"}'::jsonb), 'who acts for a person'
);
select pg_temp.acts('service', $$update ai.agents set name = 'y' where id = tests.id('agent a')$$);
select is((select jsonb_build_array(actor_id, act) from pg_temp.latest()), '[null, {"sub": "service_key"}]', 'the secret key for nobody');
select pg_temp.acts('nobody', $$update ai.agents set name = 'z' where id = tests.id('agent a')$$);
select is((select jsonb_build_array(actor_id, act) from pg_temp.latest()), '[null, {"sub": "system"}]', 'and the system');
select is(
  pg_temp.acts('member', $$update ai.agents set name = 'z' where id = tests.id('agent a')$$), null, 'what changes nothing is nothing'
);
select is(pg_temp.acts('b_member', $$update ai.agents set name = 'x' where id = tests.id('agent b')$$), null, 'what others do is in their log');

-- Belonging.
select is(
  pg_temp.acts('owner', $$update public.memberships set role = 'admin' where user_id = tests.person('viewer')$$),
  'membership.role_changed {"to": {"role": "admin"}, "from": {"role": "viewer"}, "fields": ["role"]}', 'a role'
);
select is((select subject_id from pg_temp.latest()), tests.person('viewer')::text, 'of whom');
select is(
  pg_temp.acts('owner', $$insert into public.group_members (tenant_id, group_id, user_id) values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('both'))$$),
  format('group.member_added {"user_id": "%s"}', tests.person('both')), 'a member of a group'
);
select is(
  pg_temp.acts('owner', $$delete from public.memberships where user_id = tests.person('both')$$),
  format(E'membership.removed {"role": "member"}\ngroup.member_removed {"user_id": "%s"}', tests.person('both')), 'somebody removed, and what goes with it'
);
select matches(
  pg_temp.acts('admin', $$insert into public.invitations (tenant_id, email, role) values (tests.tenant('a'), 'secret@x.example', 'member')$$),
  '^invitation\.created \{"role": "member", "expires_at": "[^"]+"\}$', 'an invitation, without the address'
);
select is(pg_temp.acts('admin', $$delete from public.invitations where email = 'secret@x.example'$$), 'invitation.deleted {"role": "member"}', 'withdrawn');
select is(
  pg_temp.acts('nobody', $$update public.invitations set accepted_at = now() where id = tests.id('invitation a')$$),
  'invitation.accepted {"role": "member", "fields": ["accepted_at"]}', 'another is accepted'
);

-- Sources.
select is(
  pg_temp.acts('nobody', $$select tests.make_source('a_new', 'a', 'member', 'private')$$),
  format('source.created {"owner_id": "%s", "file_type": ".txt", "visibility": "private"}', tests.person('member')), 'a source: no event for its pages and chunks, no hash, no name'
);
select is(
  pg_temp.acts('member', $$update ai.sources set visibility = 'tenant', name = 'x.txt' where id = tests.id('source a_new')$$),
  E'source.updated {"fields": ["name", "visibility"]}\nsource.visibility_changed {"to": {"visibility": "tenant"}, "from": {"visibility": "private"}, "fields": ["name", "visibility"]}',
  'shown to others'
);
select is(
  pg_temp.acts('nobody', $$update ai.sources set attempts = 2, extraction_status = 'failed', error_code = 'internal', error_message = 'x', extracted_at = null where id = tests.id('source a_new')$$), null, 'its states are not told'
);
select is(
  pg_temp.acts('member', $$insert into ai.source_grants (tenant_id, source_id, user_id) values (tests.tenant('a'), tests.id('source a_secret'), tests.person('viewer'))$$),
  format('source.granted {"user_id": "%s"}', tests.person('viewer')), 'granted to somebody'
);
select is((select subject_id from pg_temp.latest()), tests.id('source a_secret')::text, 'which one');
select is(pg_temp.acts('member', $$delete from ai.source_grants where source_id = tests.id('source a_secret')$$), format('source.grant_removed {"user_id": "%s"}', tests.person('viewer')), 'taken back');
select is(pg_temp.acts('member', $$delete from ai.sources where id = tests.id('source a_new')$$), format('source.deleted {"owner_id": "%s", "visibility": "tenant"}', tests.person('member')), 'deleted');
select is(
  (select count(*)::int from regexp_split_to_table(pg_temp.acts('nobody', $$
    insert into ai.sources (tenant_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, id)
    select tests.tenant('a'), 'bulk', '.txt', 'text/plain', 1, encode(sha256(i::text::bytea), 'hex'), tests.tenant('a') || '/' || md5(i::text)::uuid || '/x', md5(i::text)::uuid
    from generate_series(1, 200) as i$$), E'\n')),
  200, 'many at once, an event each'
);
select is(
  (select count(*)::int from private.audit_pending), 0, 'nothing is left waiting'
);

-- Agents and what they are given.
select is(pg_temp.acts('member', $$insert into ai.agents (tenant_id, name, system_prompt) values (tests.tenant('a'), 'x', 'Secret.')$$), 'agent.created {"is_default": false}', 'an agent');
select is(
  pg_temp.acts('admin', $$update ai.agents set published = false where id = tests.id('agent quiet a')$$),
  'agent.updated {"to": {"published": false}, "from": {"published": true}, "fields": ["published"]}', 'taken out of use'
);
select matches(
  pg_temp.acts('admin', $$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request')$$),
  '^agent\.tool_added \{"id": "[^"]+", "tool_name": "http_request", "tool_type": "builtin"\}$', 'given a tool'
);
select is(
  pg_temp.acts('admin', $$update ai.tools set config = '{"endpoint": "https://evil.example"}', secret_headers = 'v1.other' where id = tests.id('tool a')$$),
  'tool.updated {"type": "http", "fields": ["config", "secret_headers"]}', 'T13: a tool that is pointed elsewhere'
);
select is(
  pg_temp.acts('admin', $$update ai.agent_mcp_servers set url = 'https://evil.example' where id = tests.id('server a')$$),
  format('mcp_server.updated {"fields": ["header_names", "pinned_at", "pinned_tools", "secret_headers", "url"], "agent_id": "%s"}', tests.id('agent a')), 'and a server'
);
select matches(
  pg_temp.acts('admin', $$delete from ai.hooks where agent_id = tests.id('agent quiet a')$$), '^hook\.deleted \{"type": "rule", "event": "PreToolUse", "agent_id": "[^"]+"\}$', 'a rule taken away'
);
select is(pg_temp.acts('member', $$delete from ai.knowledge_bases where id = tests.id('base a')$$), E'knowledge_base.deleted {}\nagent.knowledge_base_removed ' || format('{"knowledge_base_id": "%s"}', tests.id('base a')), 'a knowledge base');

-- Runs. Written by the ledger, so that the principal of the run is put down, not the secret key.
select is(
  (select count(*)::int from ai.audit_events where action = 'run.started' and run_id = tests.id('run a_member') and detail ->> 'agent_id' = tests.id('agent a')::text), 1, 'a run begins'
);
select is(
  pg_temp.acts('nobody', $$
    insert into ai.agent_runs (id, tenant_id, session_id, agent_id, user_id, principal_id, status, retrieved_context)
    select tests.id('run x'), tenant_id, id, agent_id, user_id, user_id, 'pending', '[{"item_id": "44444444-4444-4444-8444-444444444444", "text_excerpt": "secret"}, {"item_id": null}, {}, {"item_id": "x"}]'
    from ai.agent_sessions where id = tests.id('session a_member')$$),
  format(
    'run.started {"status": "pending", "user_id": "%s", "agent_id": "%s", "context_ids": ["44444444-4444-4444-8444-444444444444"]}', tests.person('member'), tests.id('agent a')
  ), 'with the ids of what it was given to read'
);
select is(pg_temp.acts('service', $$update ai.agent_runs set status = 'running', lease_token = tests.id('lease'), lease_expires_at = now() + interval '1 hour' where id = tests.id('run x')$$), null, 'that it is taken up is nothing');
select is(
  pg_temp.acts('service', $$
    insert into ai.run_steps (tenant_id, run_id, step, calls)
    values (tests.tenant('a'), tests.id('run x'), 1, '{"c1": {"started": {"tool_name": "database_write", "arguments": {"secret": 1}}}}')$$),
  'tool.called {"step": 1, "call_id": "c1", "tool_name": "database_write"}', 'a tool is called'
);
select is(
  (select jsonb_build_array(actor_id, act, subject_id, run_id) from pg_temp.latest()),
  jsonb_build_array(
    tests.person('member'), (select jsonb_build_object('sub', 'agent', 'agent_id', agent_id, 'run_id', run_id) from ai.agent_runs where id = tests.id('run x')), tests.id('run x'), tests.id('run x')
  ), 'by the agent, for the person'
);
select is(pg_temp.acts('service', $$update ai.run_steps set calls = jsonb_set(calls, '{c1,finished}', '{"result": "secret"}') where calls ? 'c1'$$), null, 'that it ended is in the log of the run');
select is(
  pg_temp.acts('service', $$update ai.run_steps set calls = jsonb_set(calls #- '{c1,finished}', '{c1,decision}', '"retry"') where calls ? 'c1'$$),
  'call.decided {"step": 1, "call_id": "c1", "decision": "retry", "tool_name": "database_write"}', 'an interrupted one is decided about'
);
select is(
  pg_temp.acts('service', $$update ai.run_steps set calls = jsonb_set(calls #- '{c1,decision}', '{c1,started,attempt}', '2') where calls ? 'c1'$$),
  'tool.called {"step": 1, "call_id": "c1", "tool_name": "database_write"}', 'and called again'
);
select is(
  pg_temp.acts('service', $$
    insert into ai.message_citations (tenant_id, run_id, user_id, citation_key, item_id, source_id, text_excerpt)
    select tests.tenant('a'), tests.id('run x'), tests.person('member'), i, tests.id('chunk ' || i), tests.id('source a_open'), 'secret' from generate_series(1, 3) as i$$),
  format('answer.cited {"chunk_ids": ["%s", "%s", "%s"], "source_ids": ["%s"], "citation_count": 3}', tests.id('chunk 1'), tests.id('chunk 2'), tests.id('chunk 3'), tests.id('source a_open')),
  'an answer: one event, which chunks reached it'
);
select is((select act ->> 'sub' || ' ' || actor_id from pg_temp.latest()), 'agent ' || tests.person('member'), 'by the agent, for the person');
select is(
  pg_temp.acts('service', $$update ai.agent_runs set status = 'waiting', wait_reason = 'approval', lease_token = null, lease_expires_at = null where id = tests.id('run x')$$),
  format('run.waiting {"user_id": "%s", "agent_id": "%s", "wait_reason": "approval"}', tests.person('member'), tests.id('agent a')), 'it waits'
);
select is(
  pg_temp.acts('service', $$
    update ai.agent_runs set status = 'completed', wait_reason = null, content = 'secret', total_tokens = 12, completed_at = now() where id = tests.id('run x')$$),
  format('run.completed {"user_id": "%s", "agent_id": "%s", "total_tokens": 12, "tool_call_count": 0}', tests.person('member'), tests.id('agent a')), 'and ends'
);
select matches(
  pg_temp.acts('member', $$delete from ai.agent_sessions where id = tests.id('session a_member')$$), '^session\.deleted \{"user_id": "[^"]+", "agent_id": "[^"]+"\}$', 'a conversation is deleted'
);
select is((select count(*)::int from ai.audit_events where run_id = tests.id('run x')), 7, 'what it did stays known');

-- Approvals, through the functions that make and decide them.
select tests.sign_in('member');
select tests.keep('run', ai.start_run(tests.id('agent a'), message => 'x')::text);
select tests.as_service();
select ai.request_approval((tests.kept('run')::jsonb ->> 'id')::uuid, (tests.kept('run')::jsonb ->> 'lease_token')::uuid, 'c1', 'database_write', '{"secret": 1}', 'Really?', 300);
select pg_temp.chained();
select is((select action || ' ' || (detail - 'input_hash') from pg_temp.latest()), format(
  'approval.requested {"quorum": 1, "call_id": "c1", "user_id": "%s", "four_eyes": false, "tool_name": "database_write"}', tests.person('member')
), 'an approval is asked for');
select is(
  regexp_replace(
    pg_temp.acts('admin', format('select ai.decide_approval(%L::uuid, true, ''Because of secrets.'')', (select id from ai.approvals where run_id = (tests.kept('run')::jsonb ->> 'id')::uuid))),
    '"input_hash": "[^"]+"', '"input_hash": "..."', 'g'
  ),
  format(
    E'approval.decided {"approved": true, "input_hash": "...", "principal_id": "%s"}\n'
    'approval.approved {"quorum": 1, "call_id": "c1", "user_id": "%s", "four_eyes": false, "tool_name": "database_write", "input_hash": "..."}',
    tests.person('admin'), tests.person('member')
  ), 'Q03: and decided, by whom and about what exactly'
);
select is((select actor_id from pg_temp.latest()), tests.person('admin'), 'by that person');
select pg_temp.acts('service', format($$
  insert into ai.run_steps (tenant_id, run_id, step, calls)
  values (%L, %L, 1, '{"c1": {"started": {"tool_name": "database_write", "arguments": {"secret": 1}}}}')$$, tests.tenant('a'), tests.kept('run')::jsonb ->> 'id'));
select is(
  (select detail ->> 'input_hash' from pg_temp.latest()), (select input_hash from ai.approvals where id = (select (detail ->> 'approval_id')::uuid from pg_temp.latest())),
  'what is called then is what was approved'
);

select is(
  pg_temp.acts('member', format('select ai.cancel_run(%L)', tests.kept('run')::jsonb ->> 'run_id')),
  format('run.cancel_requested {"user_id": "%s", "agent_id": "%s"}', tests.person('member'), tests.id('agent a')), 'a run is to be cancelled'
);
select is((select actor_id from pg_temp.latest()), tests.person('member'), 'by whom');

-- Limits and schedules.
select is(
  pg_temp.acts('nobody', $$update ai.budgets set max_tokens = 5 where tenant_id = tests.tenant('a')$$),
  'budget.set {"to": {"max_tokens": 5}, "from": {"max_tokens": 1000000000}, "scope": "tenant", "fields": ["max_tokens"], "period": "month"}', 'a limit'
);
select is(
  pg_temp.acts('admin', $$update ai.tenant_settings set run_event_days = 5$$), 'tenant.settings_changed {"to": {"run_event_days": 5}, "from": {"run_event_days": 30}, "fields": ["run_event_days"]}', 'a setting'
);
select is(
  pg_temp.acts('nobody', $$update ai.schedules set last_run_at = now(), skipped_count = 1, enabled = true where tenant_id = tests.tenant('a')$$), null, 'that a schedule was due is nothing'
);

-- Nothing that anybody wrote.
select is_empty($$select action, detail from ai.audit_events where (detail || coalesce(act, '{}'))::text ~* '(secret[^_]|@|Say nothing|Really|Another|evil)'$$, 'no name, no address, no content is in the log');

-- Together with their tenant.
select pg_temp.chained();
select tests.keep('before', (select seq::text from private.audit_heads where tenant_id = tests.tenant('b')));
select tests.sign_in('b_owner');
delete from public.tenants where id = tests.tenant('b');
select pg_temp.chained();
select results_eq(
  $$select action, actor_id from ai.audit_events where tenant_id = tests.tenant('b') and seq > tests.kept('before')::bigint$$,
  $$values ('tenant.deleted', tests.person('b_owner'))$$, 'a tenant goes in one event'
);
select tests.as_service();
select is(ai.verify_audit(tests.tenant('b')) ->> 'ok', 'true', 'its log stays, and fits');
select isnt_empty($$select from ai.audit_events where tenant_id = tests.tenant('b')$$, 'for the secret key to read');

select * from finish();
rollback;
