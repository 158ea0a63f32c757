-- A world on top of the seed in which every table holds rows of both tenants: tests.make_world().
-- Rows carry speaking ids, tests.id('source a_open'), and are told apart by names like a_open.
create or replace function tests.id(label text)
returns uuid
language sql
immutable
as $$ select md5(label)::uuid; $$;

-- A unit vector of 384 dimensions along one axis: two labels are as far apart as cosine similarity can tell.
create or replace function tests.axis(n int)
returns text
language sql
immutable
as $$
  select '[' || string_agg(case when i = n then '1' else '0' end, ',' order by i) || ']' from generate_series(1, 384) as i;
$$;

-- The sources of the world. a_open, a_secret: of `member`; a_boss: private to `admin`; a_team: granted to the group
-- "Claims desk", which `viewer` is in; a_named: granted to `member`; a_found: uploaded by the backend, nobody's; a_left:
-- of `outsider`, who was a member once; a_demoted: of `viewer`, who was more once.
create or replace function tests.world_sources()
returns table (name text, letter text, owner_name text, visibility text, axis int)
language sql
immutable
as $$
  values
    ('a_open', 'a', 'member', 'tenant', 1),
    ('a_secret', 'a', 'member', 'private', 2),
    ('a_boss', 'a', 'admin', 'private', 3),
    ('a_team', 'a', 'admin', 'granted', 4),
    ('a_named', 'a', 'admin', 'granted', 5),
    ('a_found', 'a', null, 'tenant', 6),
    ('b_open', 'b', 'b_member', 'tenant', 7),
    ('b_secret', 'b', 'b_owner', 'private', 8),
    ('b_named', 'b', 'b_owner', 'granted', 9),
    ('b_found', 'b', null, 'tenant', 10),
    ('a_left', 'a', 'outsider', 'private', 11),
    ('a_demoted', 'a', 'viewer', 'private', 12)
$$;

-- As if ai.search were looking for these words: search_lexemes shows nothing to who has not asked.
create or replace function tests.ask_for(words text)
returns void
language sql
as $$
  select set_config('bulkhead.search_terms_' || part, (
    select array_agg(hashtextextended(term, search_segments.id))::text
    from private.search_segments
    cross join unnest(tsvector_to_array(private.lexemes_of(words, 'english'))) as term
  ), true)
  from generate_series(1, 2) as part;
$$;

-- One extracted source with one page, in the default knowledge base of its tenant, with one searchable chunk.
create or replace function tests.make_source(
  name text,
  letter text,
  owner_name text,
  visibility text default 'tenant',
  axis int default 1,
  text text default null
)
returns uuid
language plpgsql
as $$
declare
  tenant uuid := tests.tenant(letter);
  source uuid := tests.id('source ' || name);
  indexed uuid := tests.id('indexed ' || name);
  chunk uuid := tests.id('chunk ' || name);
  base uuid := (select id from ai.knowledge_bases where tenant_id = tenant and is_default);
  body text := coalesce(make_source.text, 'The harbour tariff of ' || replace(name, '_', ' ') || ' is paid in advance.');
begin
  insert into ai.sources (
    id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, extraction_status,
    uploaded_at, extracted_at, page_count
  )
  values (
    source, tenant, tests.person(owner_name), name, '.txt', 'text/plain', 10, encode(sha256(convert_to(name, 'UTF8')), 'hex'),
    tenant || '/' || source || '/' || name, make_source.visibility, 'extracted', now(), now(), 1
  );
  insert into ai.source_pages (tenant_id, source_id, page_number, text) values (tenant, source, 1, body);
  insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
  values (indexed, tenant, base, source, 'indexed', now(), 'bulkhead-hash-384');
  insert into ai.chunks (
    id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char,
    tokens, meta, embedding_model
  )
  values (
    chunk, tenant, indexed, base, source, tests.person(owner_name), make_source.visibility, body, 0, 0, char_length(body), 10,
    '{"entities": ["Harbour tariff"]}', 'bulkhead-hash-384'
  );
  perform private.store_vectors('bulkhead-hash-384', array[chunk], array[tests.axis(axis)::extensions.vector]);
  return source;
end;
$$;

create or replace function tests.make_world()
returns void
language plpgsql
as $$
declare
  letter text;
  tenant uuid;
  speaker text;
  a constant uuid := tests.tenant('a');
  b constant uuid := tests.tenant('b');
begin
  perform tests.make_source(s.name, s.letter, s.owner_name, s.visibility, s.axis) from tests.world_sources() as s;

  insert into public.documents (source_id, owner_id, title)
  select tests.id('source ' || s.name), tests.person(s.owner_name), s.name
  from tests.world_sources() as s
  where s.owner_name is not null;

  insert into private.staged_chunks (
    indexed_source_id, tenant_id, chunk_index, content_hash, text, start_char, end_char, tokens, score, meta, embedding_model, embedding
  )
  select tests.id('indexed ' || s.name), tests.tenant(s.letter), 0, 'h', 'staged', 0, 6, 1, 1, '{}', 'bulkhead-hash-384', '[1,0]'
  from tests.world_sources() as s;

  insert into private.page_renderings (tenant_id, source_id)
  values (a, tests.id('source a_open')), (b, tests.id('source b_open'));

  -- That this counted as usage is a matter of other tests.
  delete from ai.usage_entries where kind = 'embedding';

  insert into public.groups (id, tenant_id, name) values (tests.id('group b'), b, 'b_group');
  insert into public.group_members (tenant_id, group_id, user_id) values (b, tests.id('group b'), tests.person('b_member'));
  insert into ai.source_grants (tenant_id, source_id, user_id, group_id)
  values
    (a, tests.id('source a_team'), null, '33333333-3333-4333-8333-333333333333'),
    (a, tests.id('source a_named'), tests.person('member'), null),
    (b, tests.id('source b_named'), tests.person('b_member'), null);

  insert into public.invitations (id, tenant_id, email, role)
  values (tests.id('invitation a'), a, 'new@harbor.example', 'member'), (tests.id('invitation b'), b, 'new@meridian.example', 'member');

  insert into ai.knowledge_bases (id, tenant_id, name, created_by)
  values
    (tests.id('base a'), a, 'a_base', tests.person('member')),
    (tests.id('base b'), b, 'b_base', tests.person('b_member')),
    (tests.id('base left'), a, 'a_left', tests.person('outsider')),
    (tests.id('base demoted'), a, 'a_demoted', tests.person('viewer'));
  insert into ai.agents (id, tenant_id, name, created_by)
  values
    (tests.id('agent a'), a, 'a_agent', tests.person('member')),
    (tests.id('agent b'), b, 'b_agent', tests.person('b_member')),
    (tests.id('agent quiet a'), a, 'a_quiet', tests.person('member')),
    (tests.id('agent quiet b'), b, 'b_quiet', tests.person('b_member')),
    (tests.id('agent left'), a, 'a_left', tests.person('outsider')),
    (tests.id('agent demoted'), a, 'a_demoted', tests.person('viewer'));
  insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id)
  values
    (a, tests.id('agent a'), tests.id('base a')),
    (b, tests.id('agent b'), tests.id('base b')),
    (a, tests.id('agent left'), tests.id('base left')),
    (a, tests.id('agent demoted'), tests.id('base demoted'));

  -- Each agent has a tool and a hook that stay in the tenant; a_agent and b_agent have some that do not.
  insert into ai.tools (id, tenant_id, name, description, input_schema, config, header_names, secret_headers)
  select tests.id('tool ' || l), tests.tenant(l), l || '_tool', 'x', '{}', '{"endpoint": "https://tools.example/x"}', '{Authorization}', 'v1.sealed'
  from unnest(array['a', 'b']) as l;
  insert into ai.agent_tools (id, tenant_id, agent_id, tool_type, tool_name)
  select tests.id('assignment ' || names.name), agents.tenant_id, agents.id, 'builtin', 'database_query'
  from unnest(array['a', 'b', 'quiet a', 'quiet b', 'left', 'demoted']) as names (name)
  join ai.agents on agents.id = tests.id('agent ' || names.name);
  insert into ai.hooks (tenant_id, agent_id, event, type, config)
  select agents.tenant_id, agents.id, 'PreToolUse', 'rule', '{}'
  from unnest(array['a', 'b', 'quiet a', 'quiet b', 'left', 'demoted']) as names (name)
  join ai.agents on agents.id = tests.id('agent ' || names.name);
  insert into ai.agent_tools (id, tenant_id, agent_id, tool_type, tool_name, tool_id)
  select tests.id('assignment out ' || l), tests.tenant(l), tests.id('agent ' || l), 'custom', 'lookup', tests.id('tool ' || l)
  from unnest(array['a', 'b']) as l;
  insert into ai.hooks (tenant_id, agent_id, event, type, config)
  select tests.tenant(l), tests.id('agent ' || l), 'OnRunComplete', 'http', '{"url": "https://hooks.example/x"}'
  from unnest(array['a', 'b']) as l;
  insert into ai.agent_mcp_servers (id, tenant_id, agent_id, name, url, header_names, secret_headers, pinned_tools, pinned_at)
  select
    tests.id('server ' || l), tests.tenant(l), tests.id('agent ' || l), l || '_server', 'https://mcp.example/x', '{Authorization}', 'v1.sealed',
    '[{"name": "x"}]', now()
  from unnest(array['a', 'b']) as l;
  insert into private.burnt_tool_call_tokens (jti, expires_at)
  select tests.id('token ' || l), now() + interval '1 minute'
  from unnest(array['a', 'b']) as l;

  -- a_left is of somebody who has left, a_demoted of `viewer`, who was more once.
  insert into ai.schedules (id, tenant_id, agent_id, created_by, name, cron, message)
  select tests.id('schedule ' || s.name), tests.tenant(left(s.name, 1)), tests.id('agent ' || left(s.name, 1)), tests.person(s.creator), s.name, '0 9 * * 1', 'x'
  from (
    values ('a_member', 'member'), ('a_admin', 'admin'), ('a_left', 'outsider'), ('a_demoted', 'viewer'), ('b_member', 'b_member')
  ) as s (name, creator);

  insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
  select tests.id('budget ' || l), tests.tenant(l), 'tenant', 'month', 1000000000
  from unnest(array['a', 'b']) as l;
  insert into private.budget_counters (tenant_id, budget_id, subject_id, period_start)
  select tests.tenant(l), tests.id('budget ' || l), tests.tenant(l), private.budget_period_start('month', now())
  from unnest(array['a', 'b']) as l;
  insert into private.rate_counters (bucket, window_start, taken, granted)
  select convert_to(l, 'UTF8'), now(), 1, 1
  from unnest(array['a', 'b']) as l;
  insert into private.idempotency_keys (scope, tenant_id, caller_id, route, body_hash)
  select convert_to(l, 'UTF8'), tests.tenant(l), tests.person('member'), 'POST /x', 'x'
  from unnest(array['a', 'b']) as l;

  insert into private.reembeddings (tenant_id, knowledge_base_id, embedding_model)
  values (a, tests.id('base a'), 'm'), (b, tests.id('base b'), 'm');

  insert into ai.enrichments (id, tenant_id, knowledge_base_id, fields, llm_model)
  select
    tests.id('enrichment ' || l), tests.tenant(l), knowledge_bases.id, '[{"name": "topic", "description": "What it is about.", "type": "text"}]', l
  from unnest(array['a', 'b']) as l
  join ai.knowledge_bases on knowledge_bases.tenant_id = tests.tenant(l) and knowledge_bases.is_default;
  insert into ai.enrichment_results (tenant_id, enrichment_id, indexed_source_id, run_number, field_values)
  select tests.tenant(s.letter), tests.id('enrichment ' || s.letter), tests.id('indexed ' || s.name), 1, '{"topic": "x"}'
  from tests.world_sources() as s;

  insert into public.memories (tenant_id, user_id, body)
  values
    (a, tests.person('member'), 'x'), (b, tests.person('b_member'), 'x'), (a, tests.person('outsider'), 'x'), (a, tests.person('viewer'), 'x');

  -- What has been done so far is in the audit log, as after a commit; what follows is still waiting for one.
  set constraints private.chain_audit immediate;
  set constraints private.chain_audit deferred;

  -- Conversations of people, of the backend, and of somebody who has left, with a run and a citation each.
  foreach speaker in array array['a_member', 'a_backend', 'a_left', 'b_member', 'b_backend'] loop
    letter := left(speaker, 1);
    tenant := tests.tenant(letter);
    insert into ai.agent_sessions (id, tenant_id, session_id, agent_id, user_id)
    values (
      tests.id('session ' || speaker), tenant, speaker, tests.id('agent ' || letter),
      case speaker
        when 'a_member' then tests.person('member')
        when 'a_left' then tests.person('outsider')
        when 'b_member' then tests.person('b_member')
      end
    );
    insert into ai.agent_runs (id, tenant_id, session_id, agent_id, user_id, principal_id, status, completed_at, model)
    select tests.id('run ' || speaker), tenant, id, agent_id, user_id, coalesce(user_id, tenant), 'completed', now(), speaker
    from ai.agent_sessions
    where id = tests.id('session ' || speaker);
    -- Without run and agent, as are the calls of tools below and for the same reason.
    insert into ai.usage_entries (tenant_id, user_id, kind, model, prompt_tokens, total_tokens)
    select tenant, user_id, 'chat', speaker, 10, 10
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into private.token_reservations (tenant_id, run_id, lease_token, user_id, step, prompt_tokens, reserved_tokens, budget_ids)
    select tenant, id, gen_random_uuid(), user_id, 1, 10, 10, '{}'
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into ai.run_events (tenant_id, run_id, seq, type, payload, user_id)
    select tenant, id, 1, 'start', jsonb_build_object('event', 'start', 'type', 'start', 'speaker', speaker), user_id
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into ai.run_steps (tenant_id, run_id, step, turn, record, completed_at, user_id)
    select tenant, id, 1, '{"op": "turn"}', '{}', now(), user_id
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into private.run_requests (run_id, tenant_id, request)
    select id, tenant, '{}'
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into ai.message_citations (tenant_id, run_id, user_id, citation_key, text_excerpt)
    select tenant, id, user_id, 1, speaker
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    -- Without their agent: setting one key to null checks all keys of a row that this very transaction has made, and while a
    -- tenant is being deleted the run is gone by then.
    insert into ai.tool_call_events (tenant_id, agent_run_id, user_id, tool_name, call_id, status)
    select tenant, id, user_id, speaker, 'call_1', 'success'
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into ai.approvals (id, tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, status, expires_at)
    select tests.id('approval ' || speaker), tenant, id, user_id, 'call_1', speaker, '{}', repeat('0', 64), 'expired', now()
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
    insert into ai.approval_decisions (tenant_id, approval_id, principal_id, approved, reason)
    values (tenant, tests.id('approval ' || speaker), tests.id('approval ' || speaker), false, speaker);
    insert into ai.context_handlers (id, tenant_id, user_id, query)
    select tests.id('handler ' || speaker), tenant, user_id, speaker
    from ai.agent_runs
    where id = tests.id('run ' || speaker);
  end loop;

  -- One that the group "Claims desk" decides about, and whoever is an admin reads.
  insert into ai.approvals (id, tenant_id, run_id, call_id, tool_name, tool_input, input_hash, status, decider_group_id, expires_at)
  values (
    tests.id('approval a_desk'), a, tests.id('run a_backend'), 'call_2', 'a_desk', '{}', repeat('0', 64), 'expired',
    '33333333-3333-4333-8333-333333333333', now()
  );
  insert into ai.approval_decisions (tenant_id, approval_id, principal_id, approved, reason)
  values (a, tests.id('approval a_desk'), tests.id('approval a_desk'), false, 'a_desk');

  insert into ai.tenant_settings (tenant_id) values (a), (b);

  insert into public.chat_sessions (id, tenant_id, user_id, title)
  values
    (tests.id('chat a'), a, tests.person('member'), 'a_member'),
    (tests.id('chat b'), b, tests.person('b_member'), 'b_member'),
    (tests.id('chat left'), a, tests.person('outsider'), 'a_left');
  insert into public.memberships (tenant_id, user_id, role) values (a, tests.person('outsider'), 'viewer');
  insert into public.chat_messages (tenant_id, user_id, session_id, role, content)
  values
    (a, tests.person('member'), tests.id('chat a'), 'user', 'a_member'),
    (b, tests.person('b_member'), tests.id('chat b'), 'user', 'b_member'),
    (a, tests.person('outsider'), tests.id('chat left'), 'user', 'a_left');
  delete from public.memberships where user_id = tests.person('outsider');

  insert into private.object_removals (storage_path) values (a || '/x/a'), (b || '/x/b');
  perform tests.ask_for('harbour');
end;
$$;
