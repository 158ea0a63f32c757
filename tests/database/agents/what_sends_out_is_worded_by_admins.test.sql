-- T13: an agent that sends data out does so in the runs of everybody, in the words of whoever may change it.
begin;
select plan(58);
select tests.make_world();

-- A member's agent with something of everything that stays in the tenant.
insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id)
select knowledge_bases.tenant_id, tests.id('agent quiet ' || tests.letter(knowledge_bases.tenant_id)), knowledge_bases.id
from ai.knowledge_bases
where knowledge_bases.is_default;
insert into ai.hooks (tenant_id, agent_id, event, type, config)
select tests.tenant(l), tests.id('agent quiet ' || l), 'PreToolUse', 'approval', '{}' from unnest(array['a', 'b']) as l;

-- Names of what `who` can do with the agent; each is done and undone.
create function pg_temp.acts(who text, letter text default 'a')
returns text
language plpgsql
as $$
declare
  id constant uuid := tests.id('agent quiet ' || letter);
  act record;
  touched int;
  done text[] := '{}';
begin
  perform tests.sign_in(who);
  for act in
    select acts.name, replace(replace(acts.statement, '{id}', format('%L', id)), '{letter}', format('%L', letter)) as statement
    from (
      values
        ('configure', 'update ai.agent_tools set config_override = config_override where agent_id = {id}'),
        ('disarm', $s$delete from ai.hooks where agent_id = {id} and type = 'approval'$s$),
        ('discard', 'delete from ai.agents where id = {id}'),
        ('hook', $s$insert into ai.hooks (tenant_id, agent_id, event, type, config) values (tests.tenant({letter}), {id}, 'OnRunStart', 'rule', '{}')$s$),
        ('instruct', $s$update ai.agents set system_prompt = 'Send it.' where id = {id}$s$),
        ('link', $s$insert into ai.agent_knowledge_bases (tenant_id, agent_id, knowledge_base_id) values (tests.tenant({letter}), {id}, tests.id('base ' || {letter}))$s$),
        ('model', $s$update ai.agents set model = 'x' where id = {id}$s$),
        ('name', $s$update ai.agents set name = 'x' where id = {id}$s$),
        ('relink', $s$update ai.agent_knowledge_bases set config = '{"top_k": 1}' where agent_id = {id}$s$),
        ('settings', $s$update ai.agents set settings = '{"max_steps": 1}' where id = {id}$s$),
        ('tool', $s$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant({letter}), {id}, 'builtin', 'storage_read')$s$),
        ('unlink', 'delete from ai.agent_knowledge_bases where agent_id = {id}'),
        ('unrule', $s$delete from ai.hooks where agent_id = {id} and type = 'rule'$s$),
        ('untool', 'delete from ai.agent_tools where agent_id = {id}')
    ) as acts (name, statement)
    order by acts.name
  loop
    begin
      execute act.statement;
      get diagnostics touched = row_count;
      raise exception 'undo' using errcode = 'UNDO0';
    exception
      when sqlstate 'UNDO0' then
        if touched > 0 then
          done := done || act.name;
        end if;
      when insufficient_privilege then
        null;
    end;
  end loop;
  return array_to_string(done, ' ');
end;
$$;

create function pg_temp.everything() returns text language sql as $$
  select 'configure disarm discard hook instruct link model name relink settings tool unlink unrule untool';
$$;
create function pg_temp.what_is_left() returns text language sql as $$
  select 'discard link relink unlink untool';
$$;

select is(pg_temp.acts('member'), pg_temp.everything(), 'nothing leaves the tenant: whoever made the agent changes it');
select is(pg_temp.acts('admin'), pg_temp.everything(), 'as admins do');
select is(pg_temp.acts('backend_a'), pg_temp.everything(), 'and the backend');
select is(pg_temp.acts('both'), '', 'not another member');
select is(pg_temp.acts('viewer'), '', 'nor a viewer');
select is(pg_temp.acts('b_owner'), '', 'nor anybody of another tenant');

-- What an admin gives the agent, how it shows in the look-up, and how it is taken away.
create function pg_temp.ways_out()
returns table (way text, given text, taken text)
language sql
as $$
  select
    tool_name,
    format($s$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', %L)$s$, tool_name),
    format($s$delete from ai.agent_tools where agent_id = tests.id('agent quiet a') and tool_name = %L$s$, tool_name)
  from unnest(array['http_request', 'web_scrape', 'web_search', 'code_execute']) as tool_name
  union all
  values
    (
      'a custom tool',
      $s$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, tool_id) values (tests.tenant('a'), tests.id('agent quiet a'), 'custom', 'mine', tests.id('tool a'))$s$,
      $s$delete from ai.agent_tools where agent_id = tests.id('agent quiet a') and tool_name = 'mine'$s$
    )
  union all
  select
    'an MCP server, ' || case when enabled then 'on' else 'off' end,
    format(
      $s$insert into ai.agent_mcp_servers (tenant_id, agent_id, name, url, enabled) values (tests.tenant('a'), tests.id('agent quiet a'), 'x', 'https://mcp.example', %L)$s$,
      enabled
    ),
    $s$delete from ai.agent_mcp_servers where agent_id = tests.id('agent quiet a')$s$
  from unnest(array[true, false]) as enabled
  union all
  select
    'a request as a hook, ' || case when enabled then 'on' else 'off' end,
    format(
      $s$insert into ai.hooks (tenant_id, agent_id, event, type, config, enabled) values (tests.tenant('a'), tests.id('agent quiet a'), 'OnRunComplete', 'http', '{"url": "https://x.example"}', %L)$s$,
      enabled
    ),
    $s$delete from ai.hooks where agent_id = tests.id('agent quiet a') and type = 'http'$s$
  from unnest(array[true, false]) as enabled;
$$;

create function pg_temp.check_way_out(way text, given text, taken text)
returns setof text
language plpgsql
as $$
begin
  perform tests.sign_in('admin');
  execute given;
  return next is(pg_temp.acts('member'), pg_temp.what_is_left(), format('%s: whoever made the agent takes away, no more', way));
  return next is(pg_temp.acts('admin'), pg_temp.everything(), format('%s: admins change it', way));
  return next is(pg_temp.acts('b_member', 'b'), pg_temp.everything(), format('%s: nothing changes for another tenant', way));
  perform tests.sign_in('admin');
  execute taken;
  return next is(pg_temp.acts('member'), pg_temp.everything(), format('%s, taken away: the agent is its maker''s again', way));
end;
$$;
select pg_temp.check_way_out(ways.way, ways.given, ways.taken) from pg_temp.ways_out() as ways;

-- The backend, and who is more than a member where it counts.
select tests.sign_in('admin');
insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request');
select is(pg_temp.acts('backend_a'), pg_temp.everything(), 'the backend changes what sends data out');
select is(pg_temp.acts('backend_b'), '', 'of its own tenant');
select is(pg_temp.acts('owner'), pg_temp.everything(), 'owners do');
select is(pg_temp.acts('both') || pg_temp.acts('viewer') || pg_temp.acts('b_owner'), '', 'for others nothing is gained');

-- Ways around it.
select tests.sign_in('member');
select is_empty(
  $$
    with gone as (delete from ai.agent_tools where agent_id = tests.id('agent quiet a') and tool_name = 'http_request' returning id)
    update ai.agents set system_prompt = 'Send it.' where id = tests.id('agent quiet a') and exists (select from gone) returning id
  $$,
  'taking a tool away and changing the prompt in one statement'
);
select is(pg_temp.acts('member'), pg_temp.everything(), 'does the first only');
select tests.sign_in('admin');
insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request');
select tests.sign_in('member');
select is(
  tests.outcome($$
    insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name, config_override)
    values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'database_query', '{}')
    on conflict (agent_id, tool_name) do update set config_override = excluded.config_override
  $$),
  '42501', 'giving a tool again with another configuration'
);
select isnt_empty($$delete from ai.agent_tools where agent_id = tests.id('agent quiet a') and tool_name = 'http_request' returning id$$, 'what was taken away');
select is(pg_temp.acts('member'), pg_temp.everything(), 'makes the agent its maker''s again');
select tests.sign_in('member');
select is(
  tests.outcome($$insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request')$$),
  '42501', 'but does not come back'
);

-- The look-up.
select set_eq('select private.agents_that_send_out()', array[tests.id('agent a')], 'agents of the caller''s tenants only');
select tests.sign_in('b_member');
select set_eq('select private.agents_that_send_out()', array[tests.id('agent b')], 'in each');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select set_eq('select private.agents_that_send_out()', array[tests.id('agent b')], 'a header narrows them');
select tests.sign_in('viewer');
select is_empty('select private.agents_that_send_out()', 'none for who may change no agent');
select tests.as_superuser();
create policy "a project hides tools from members" on ai.agent_tools as restrictive for select to authenticated using (false);
insert into ai.agent_tools (tenant_id, agent_id, tool_type, tool_name) values (tests.tenant('a'), tests.id('agent quiet a'), 'builtin', 'http_request');
select tests.sign_in('member');
select is_empty('select id from ai.agent_tools', 'where a project hides tools');
select is(pg_temp.acts('member'), 'discard link relink unlink', 'they count all the same');

select * from finish();
rollback;
