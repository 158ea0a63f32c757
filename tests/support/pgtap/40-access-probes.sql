-- The machinery of the access matrix: who may do what to which rows. The expectations are in 30-access-expectations.sql.

-- Every table that must have expectations: all of the project's own schemas, read from the catalog.
create or replace function tests.tables()
returns table (relation text)
language sql
stable
as $$
  select format('%I.%I', pg_namespace.nspname, pg_class.relname)
  from pg_class
  join pg_namespace on pg_namespace.oid = pg_class.relnamespace
  where pg_namespace.nspname in ('public', 'ai', 'private') and pg_class.relkind in ('r', 'p', 'v', 'm', 'f')
    and not exists (select from pg_depend where pg_depend.objid = pg_class.oid and pg_depend.deptype = 'e')
  order by 1;
$$;

create or replace function tests.principals()
returns table (principal text, who text)
language sql
immutable
as $$
  values
    ('anon', null), ('outsider', 'outsider'), ('other', 'b_member'), ('viewer', 'viewer'), ('member', 'member'), ('admin', 'admin'),
    ('owner', 'owner'), ('backend', 'backend_a');
$$;

create or replace function tests.enter(principal text)
returns void
language plpgsql
as $$
begin
  if principal = 'anon' then
    perform tests.as_anon();
  else
    perform tests.sign_in((select principals.who from tests.principals() where principals.principal = enter.principal));
  end if;
end;
$$;

create or replace function tests.letter(tenant_id uuid)
returns text
language sql
immutable
as $$ select case tenant_id when tests.tenant('a') then 'a' when tests.tenant('b') then 'b' end; $$;

create or replace function tests.name_of(user_id uuid)
returns text
language sql
immutable
as $$
  select names.name
  from unnest(array['owner', 'admin', 'member', 'viewer', 'b_owner', 'b_member', 'both', 'outsider']) as names (name)
  where tests.person(names.name) = user_id;
$$;

create or replace function tests.source_name(source_id uuid)
returns text
language sql
stable
as $$ select sources.name from ai.sources where sources.id = source_id; $$;

-- Who sees a segment and whose it is: a_tenant, a_private_member, a_granted_admin_team.
create or replace function tests.segment_name(segment_id int)
returns text
language sql
stable
as $$
  select concat_ws(
    '_', tests.letter(tenant_id), visibility, tests.name_of(owner_id),
    case when visibility = 'granted' and tenant_id = tests.tenant('a') then
      case when allowed_principals = array[tests.person('member')] then 'member' else 'team' end
    end
  )
  from private.search_segments
  where id = segment_id;
$$;

-- How to tell the rows of a table apart. `key`: from columns that clients may select; `label`: a name, read as superuser.
-- `change`: the set clause of the update; `condition`: rows that update and delete leave out, where touching them raises.
-- In `sample` (the insert) {tenant}, {letter} and {claimant} are filled in.
create or replace function tests.access_tables()
returns table (relation text, key text, label text, sample text, change text, condition text)
language sql
immutable
as $$
  values
    ('public.tenants', 'id', 'tests.letter(t.id)', $s$(name) values ('x')$s$, $s$name = 'x'$s$, null),
    ('public.memberships', 'tenant_id || '' '' || user_id', 'tests.letter(t.tenant_id) || '':'' || tests.name_of(t.user_id)',
      $s$(tenant_id, user_id, role) values ({tenant}, tests.person('outsider'), 'viewer')$s$, 'role = role', $s$role <> 'owner'$s$),
    ('public.invitations', 'id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, email, role) values ({tenant}, 'x@example.com', 'member')$s$, $s$role = 'viewer'$s$, null),
    ('public.groups', 'id', 'tests.letter(t.tenant_id)', $s$(tenant_id, name) values ({tenant}, 'x')$s$, $s$name = 'y'$s$, null),
    ('public.group_members', 'group_id || '' '' || user_id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, group_id, user_id) values (
        {tenant}, case {letter} when 'a' then '33333333-3333-4333-8333-333333333333' else tests.id('group b') end, tests.person('both')
      )$s$, 'user_id = user_id', null),
    ('public.documents', 'id', 'tests.source_name(t.source_id)',
      $s$(source_id, owner_id) values (tests.id('source ' || {letter} || '_found'), {claimant})$s$, $s$title = 'x'$s$, null),
    ('public.memories', 'id', 'tests.letter(t.tenant_id) || coalesce(''_'' || tests.name_of(t.user_id), '''')',
      $s$(tenant_id, body) values ({tenant}, 'x')$s$, $s$body = 'x'$s$, null),
    ('public.chat_sessions', 'id', 't.title', $s$(tenant_id, title) values ({tenant}, 'x')$s$, $s$title = 'x'$s$, null),
    ('public.chat_messages', 'id', 't.content',
      $s$(tenant_id, user_id, session_id, role, content) values (
        {tenant}, {claimant}, tests.id('chat ' || {letter}), 'assistant', 'x'
      )$s$, $s$content = 'x'$s$, null),
    ('ai.sources', 'id', 't.name',
      $s$(id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path) values (
        tests.id('x'), {tenant}, {claimant}, 'x', '.txt', 'text/plain', 1, repeat('a', 64), {tenant} || '/' || tests.id('x') || '/x'
      )$s$, $s$metadata = '{"t": 1}'$s$, null),
    ('ai.source_grants', 'id', 'tests.source_name(t.source_id)',
      $s$(tenant_id, source_id, user_id) values ({tenant}, tests.id('source ' || {letter} || '_open'), tests.person('both'))$s$,
      'user_id = user_id', null),
    ('ai.source_pages', 'source_id', 'tests.source_name(t.source_id)',
      $s$(tenant_id, source_id, page_number, text) values ({tenant}, tests.id('source ' || {letter} || '_open'), 2, 'x')$s$, $s$text = 'x'$s$, null),
    ('ai.knowledge_bases', 'id', 'case when t.is_default then tests.letter(t.tenant_id) || ''_default'' else t.name end',
      $s$(tenant_id, name) values ({tenant}, 'x')$s$, $s$description = 'x'$s$, null),
    ('ai.indexed_sources', 'id', 'tests.source_name(t.source_id)',
      $s$(tenant_id, knowledge_base_id, source_id) values (
        {tenant}, tests.id('base ' || {letter}), tests.id('source ' || {letter} || '_open')
      )$s$, $s$stats = '{"t": 1}'$s$, null),
    ('ai.chunks', 'id', 'tests.source_name(t.source_id)',
      $s$(tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
        values (
        {tenant}, tests.id('indexed ' || {letter} || '_open'), tests.id('base ' || {letter}), tests.id('source ' || {letter} || '_open'),
        'tenant', 'x', 1, 0, 1, 1, 'm'
      )$s$, $s$text = 'x'$s$, null),
    ('ai.agents', 'id', 'case when t.is_default then tests.letter(t.tenant_id) || ''_default'' else t.name end',
      $s$(tenant_id, name) values ({tenant}, 'x')$s$, $s$model = 'x'$s$, null),
    ('ai.agent_knowledge_bases', 'id',
      '(select case when agents.is_default then tests.letter(t.tenant_id) || ''_default'' else agents.name end from ai.agents where agents.id = t.agent_id)',
      $s$(tenant_id, agent_id, knowledge_base_id)
        select {tenant}, tests.id('agent ' || {letter}), bases.id from tests.default_base({letter}) as bases (id)$s$, $s$config = '{"t": 1}'$s$, null),
    ('ai.tools', 'id', 't.name',
      $s$(tenant_id, name, description, input_schema, config) values ({tenant}, 'x', 'x', '{}', '{"endpoint": "https://x.example"}')$s$, $s$description = 'y'$s$, null),
    ('ai.agent_tools', 'id', '(select agents.name from ai.agents where agents.id = t.agent_id) || case when t.tool_type = ''custom'' then ''_out'' else '''' end',
      $s$(tenant_id, agent_id, tool_type, tool_name) values ({tenant}, tests.id('agent quiet ' || {letter}), 'builtin', 'storage_read')$s$,
      $s$config_override = '{"t": 1}'$s$, null),
    ('ai.agent_mcp_servers', 'id', 't.name',
      $s$(tenant_id, agent_id, name, url) values ({tenant}, tests.id('agent ' || {letter}), 'x', 'https://x.example')$s$, $s$enabled = false$s$, null),
    ('ai.hooks', 'id', '(select agents.name from ai.agents where agents.id = t.agent_id) || case when t.type = ''http'' then ''_out'' else '''' end',
      $s$(tenant_id, agent_id, event, type, config) values ({tenant}, tests.id('agent quiet ' || {letter}), 'OnRunStart', 'rule', '{}')$s$, $s$enabled = false$s$, null),
    ('ai.context_handlers', 'id', 't.query', $s$(tenant_id, query) values ({tenant}, 'x')$s$, $s$query = 'y'$s$, null),
    ('ai.tool_call_events', 'id', 't.tool_name',
      $s$(tenant_id, agent_run_id, user_id, tool_name, call_id, status) values (
        {tenant}, tests.id('run ' || {letter} || '_member'), {claimant}, 'x', 'x', 'success'
      )$s$, $s$tool_name = 'y'$s$, null),
    ('ai.approvals', 'id', 't.tool_name',
      $s$(tenant_id, run_id, user_id, call_id, tool_name, tool_input, input_hash, expires_at) values (
        {tenant}, tests.id('run ' || {letter} || '_member'), {claimant}, 'x', 'x', '{}', repeat('0', 64), now()
      )$s$, $s$status = 'approved'$s$, null),
    ('ai.approval_decisions', 'approval_id', 't.reason',
      $s$(tenant_id, approval_id, principal_id, approved) values (
        {tenant}, tests.id('approval ' || {letter} || '_member'), {claimant}, true
      )$s$, 'approved = true', null),
    ('private.burnt_tool_call_tokens', 'jti', 'case t.jti when tests.id(''token a'') then ''a'' when tests.id(''token b'') then ''b'' end',
      $s$(jti, expires_at) values (gen_random_uuid(), now())$s$, 'expires_at = now()', null),
    ('ai.budgets', 'id', 'tests.letter(t.tenant_id) || ''_'' || t.scope',
      $s$(tenant_id, scope, period, max_tokens) values ({tenant}, 'run', 'total', 1)$s$, 'max_tokens = 2', null),
    ('ai.usage_entries', 'id', 't.model', $s$(tenant_id, user_id, kind) values ({tenant}, {claimant}, 'chat')$s$, 'total_tokens = 1', null),
    ('private.budget_counters', 'budget_id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, budget_id, subject_id, period_start) values ({tenant}, tests.id('budget ' || {letter}), {tenant}, 'epoch')$s$, 'used_tokens = 1', null),
    ('private.token_reservations', 'id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, run_id, lease_token, step, prompt_tokens, reserved_tokens, budget_ids) values (
        {tenant}, tests.id('run ' || {letter} || '_member'), gen_random_uuid(), 1, 1, 1, '{}'
      )$s$, 'step = 2', null),
    ('private.rate_counters', 'bucket', 'convert_from(t.bucket, ''UTF8'')',
      $s$(bucket, window_start, taken, granted) values ('x', now(), 1, 1)$s$, 'taken = 2', null),
    ('private.idempotency_keys', 'id', 'tests.letter(t.tenant_id)',
      $s$(scope, tenant_id, caller_id, route, body_hash) values ('x', {tenant}, {claimant}, 'x', 'x')$s$, $s$route = 'y'$s$, null),
    ('ai.agent_sessions', 'id', 't.session_id',
      $s$(tenant_id, session_id, agent_id, user_id) values ({tenant}, 'x', tests.id('agent ' || {letter}), {claimant})$s$, $s$metadata = '{"t": 1}'$s$, null),
    ('ai.agent_runs', 'id', 't.model',
      $s$(tenant_id, session_id, user_id, principal_id, status) values (
        {tenant}, tests.id('session ' || {letter} || '_member'), {claimant}, {claimant}, 'pending'
      )$s$, $s$model = 'x'$s$, null),
    ('ai.run_events', 'run_id || '' '' || seq', '(select agent_runs.model from ai.agent_runs where agent_runs.id = t.run_id)',
      $s$(tenant_id, run_id, user_id, seq, type, payload) values (
        {tenant}, tests.id('run ' || {letter} || '_member'), {claimant}, 2, 'x', '{"type": "x"}'
      )$s$, $s$payload = '{"type": "start"}'$s$, null),
    ('ai.run_steps', 'run_id || '' '' || step', '(select agent_runs.model from ai.agent_runs where agent_runs.id = t.run_id)',
      $s$(tenant_id, run_id, user_id, step) values ({tenant}, tests.id('run ' || {letter} || '_member'), {claimant}, 2)$s$, $s$record = '{"t": 1}'$s$, null),
    ('private.run_requests', 'run_id', '(select agent_runs.model from ai.agent_runs where agent_runs.id = t.run_id)',
      $s$(run_id, tenant_id, request) values (tests.id('run ' || {letter} || '_left'), {tenant}, '{}')$s$, $s$request = '{"t": 1}'$s$, null),
    ('ai.tenant_settings', 'tenant_id', 'tests.letter(t.tenant_id)', $s$(tenant_id) values ({tenant})$s$, 'run_event_days = 7', null),
    ('ai.message_citations', 'id', 't.text_excerpt',
      $s$(tenant_id, run_id, user_id, citation_key, text_excerpt) values (
        {tenant}, tests.id('run ' || {letter} || '_member'), {claimant}, 2, 'x'
      )$s$, $s$text_excerpt = 'x'$s$, null),
    ('ai.audit_events', 'tenant_id || '' '' || seq', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, seq, occurred_at, recorded_at, action, subject_type, subject_id, prev_hash, hash) values (
        {tenant}, 1000000, now(), now(), 'x.y', 'x', 'x', repeat('0', 64), repeat('0', 64)
      )$s$, $s$action = 'x.y'$s$, null),
    ('private.audit_heads', 'tenant_id', 'tests.letter(t.tenant_id)', $s$(tenant_id) values ({tenant})$s$, 'seq = 0', null),
    ('private.audit_pending', 'id', 'tests.letter(t.tenant_id)', $s$(tenant_id, entries) values ({tenant}, '[]')$s$, $s$entries = '[]'$s$, null),
    ('ai.schedules', 'id', 't.name',
      $s$(tenant_id, agent_id, name, cron, message) values ({tenant}, tests.id('agent ' || {letter}), 'x', '0 9 * * 1', 'x')$s$, 'enabled = false', null),
    ('private.queue_limits', 'queue', 't.queue', $s$(queue, max_active_per_tenant) values ('remove_object', 1)$s$, 'max_active_per_tenant = 3', null),
    ('private.sweeps', 'id', 't.name', $s$(name) values ('requeue_work')$s$, 'least_seconds = 1', null),
    ('private.tenant_principals', 'tenant_id', 'tests.letter(t.tenant_id)', $s$(tenant_id) values ({tenant})$s$, 'id = gen_random_uuid()', null),
    ('private.search_segments', 'id', 'tests.segment_name(t.id)',
      $s$(tenant_id, kind, knowledge_base_id, visibility, language) values ({tenant}, 'chunk', tests.id('base ' || {letter}), 'tenant', 'simple')$s$,
      'item_count = 9', null),
    ('private.search_lexemes', 'item_id', 'coalesce(tests.source_name(t.source_id), tests.letter(t.tenant_id) || ''_memory'')',
      $s$(item_id, tenant_id, segment_id, term_count, keys, lexemes) values (tests.id('x'), {tenant}, 1, 0, '{}', '')$s$, 'term_count = 1', null),
    ('private.search_entities', 'chunk_id', '(select tests.source_name(chunks.source_id) from ai.chunks where chunks.id = t.chunk_id)',
      $s$(tenant_id, chunk_id, segment_id, name_key, name) values ({tenant}, tests.id('chunk ' || {letter} || '_open'), 1, 'x', 'x')$s$, $s$name = 'x'$s$, null),
    ('private.term_statistics', 'segment_id', 'tests.segment_name(t.segment_id)',
      $s$(segment_id, key, tenant_id, item_count) values (1, 1, {tenant}, 1)$s$, 'item_count = 9', null),
    ('private.vector_sets', 'id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, embedding_model, dimensions) values ({tenant}, 'm', 3)$s$, 'item_count = 9', null),
    ('private.search_vectors', 'item_id', 'tests.source_name(t.source_id)',
      $s$(item_id, vector_set_id, segment_id, tenant_id, is_shared, embedding) values (tests.id('x'), 1, 1, {tenant}, true, '[1]')$s$, 'segment_id = 1', null),
    ('private.reembeddings', 'id', 'tests.letter(t.tenant_id)', $s$(tenant_id, embedding_model) values ({tenant}, 'm')$s$, $s$embedding_model = 'x'$s$, null),
    ('ai.enrichments', 'id', 'tests.letter(t.tenant_id)',
      $s$(tenant_id, knowledge_base_id, fields) values ({tenant}, tests.id('base ' || {letter}), '[{"name": "x", "description": "x", "type": "text"}]')$s$, 'max_tokens = 9', null),
    ('ai.enrichment_results', 'indexed_source_id',
      '(select tests.source_name(indexed_sources.source_id) from ai.indexed_sources where indexed_sources.id = t.indexed_source_id)',
      $s$(tenant_id, enrichment_id, indexed_source_id, run_number, field_values) values (
        {tenant}, tests.id('enrichment ' || {letter}), tests.id('indexed ' || {letter} || '_open'), 1, '{}'
      )$s$, $s$note = 'x'$s$, null),
    ('private.shipped_policies', 'relation', 't.relation::text',
      $s$(relation, versions, fingerprint) values ('ai.sources', '', '')$s$, $s$fingerprint = 'x'$s$, null),
    ('private.staged_chunks', 'indexed_source_id',
      '(select tests.source_name(indexed_sources.source_id) from ai.indexed_sources where indexed_sources.id = t.indexed_source_id)',
      $s$(tenant_id, indexed_source_id, chunk_index, content_hash, text, start_char, end_char, tokens, score, meta, embedding_model, embedding) values (
        {tenant}, tests.id('indexed ' || {letter} || '_open'), 1, 'h', 'x', 0, 1, 1, 1, '{}', 'm', '[1]'
      )$s$, $s$text = 'x'$s$, null),
    ('private.page_renderings', 'source_id', 'tests.source_name(t.source_id)',
      $s$(tenant_id, source_id) values ({tenant}, tests.id('source ' || {letter} || '_found'))$s$, 'attempts = 9', null),
    ('private.object_removals', 'id', 'right(t.storage_path, 1)', $s$(storage_path) values ({tenant} || '/x/y')$s$, $s$storage_path = 'x'$s$, null);
$$;

create or replace function tests.default_base(letter text)
returns setof uuid
language sql
stable
security definer -- the insert under test must not fail only because the probe cannot see what it points to
as $$ select knowledge_bases.id from ai.knowledge_bases where knowledge_bases.tenant_id = tests.tenant(letter) and is_default; $$;

-- Key, label and place on disk of every row, seen by the superuser.
create or replace function tests.rows_of(relation text)
returns table (key text, label text, place tid)
language plpgsql
as $$
declare
  spec record;
begin
  select * into strict spec from tests.access_tables() as specs where specs.relation = rows_of.relation;
  return query execute format('select (%s)::text, (%s)::text, t.ctid from %s as t', spec.key, spec.label, relation);
end;
$$;

-- Does as `principal` what `verb` says and undoes it. Returns the labels of the rows that were seen, changed or deleted
-- ('nothing' if none), 'ok' for an insert, or '!' and the SQLSTATE. Update and delete have no where clause, so that they
-- touch all rows their own policies allow, also those that the policy for select would have hidden.
create or replace function tests.probe(relation text, verb text, principal text)
returns text
language plpgsql
as $$
declare
  spec record;
  letter text := case verb when 'insert into b' then 'b' else 'a' end;
  claimant uuid;
  statement text;
  before jsonb;
  touched text[];
  result text;
begin
  select * into strict spec from tests.access_tables() as specs where specs.relation = probe.relation;
  select jsonb_object_agg(rows.key, jsonb_build_array(rows.label, rows.place)) into before from tests.rows_of(relation) as rows;
  select coalesce(tests.person(principals.who), tests.person('member')) into claimant
  from tests.principals()
  where principals.principal = probe.principal;
  statement := case verb
    when 'select' then format('select array_agg((%s)::text) from %s', spec.key, relation)
    when 'update' then format('update %s set %s', relation, spec.change) || coalesce(' where ' || spec.condition, '')
    when 'delete' then format('delete from %s', relation) || coalesce(' where ' || spec.condition, '')
    else
      format('insert into %s ', relation)
      || replace(replace(replace(spec.sample, '{tenant}', format('tests.tenant(%L)', letter)), '{letter}', format('%L', letter)), '{claimant}', format('%L::uuid', claimant))
  end;
  begin
    perform tests.enter(principal);
    if verb = 'select' then
      execute statement into touched;
    else
      execute statement;
    end if;
    perform tests.as_superuser();
    if verb = 'update' then
      select array_agg(rows.key) into touched
      from tests.rows_of(relation) as rows
      where before -> rows.key ->> 1 is distinct from rows.place::text;
    elsif verb = 'delete' then
      select array_agg(keys.key) into touched
      from jsonb_object_keys(before) as keys (key)
      where keys.key not in (select rows.key from tests.rows_of(relation) as rows);
    end if;
    select case
      when verb like 'insert into _' then 'ok'
      else coalesce(
        string_agg(
          distinct coalesce(before -> keys.key ->> 0, 'a row without a name') collate "C", ' '
          order by coalesce(before -> keys.key ->> 0, 'a row without a name') collate "C"
        ),
        'nothing'
      )
    end
    into result
    from unnest(touched) as keys (key);
    raise exception 'undo' using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
    when others then result := '!' || sqlstate;
  end;
  return result;
end;
$$;

create or replace function tests.verbs()
returns table (verb text)
language sql
immutable
as $$ values ('select'), ('insert into a'), ('insert into b'), ('update'), ('delete'); $$;

-- Table, verb and principal for which nobody has said what must happen, or more than one thing.
create or replace function tests.missing_expectations()
returns table (relation text, verb text, principal text, expectation_count bigint)
language sql
stable
as $$
  select tables.relation, verbs.verb, principals.principal, count(expectations.expected)
  from tests.tables() as tables
  cross join tests.verbs()
  cross join tests.principals()
  left join tests.access_expectations() as expectations
    on expectations.relation = tables.relation and expectations.verb = verbs.verb and expectations.principal = principals.principal
  group by tables.relation, verbs.verb, principals.principal
  having count(expectations.expected) <> 1;
$$;

-- The same for a line of tests.access_cases(): 'ok' or '!' and the SQLSTATE.
create or replace function tests.probe_case(statement text, principal text)
returns text
language plpgsql
as $$
declare
  result text;
begin
  begin
    perform tests.enter(principal);
    execute statement;
    result := 'ok';
    raise exception 'undo' using errcode = 'UNDO0';
  exception
    when sqlstate 'UNDO0' then null;
    when others then result := '!' || sqlstate;
  end;
  return result;
end;
$$;
