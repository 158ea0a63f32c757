-- What runs are carried out with, again and again, keeps its plans. A function in SQL that is not inlined is parsed and planned anew by
-- each call: for these that took longer than what they do. Plans are kept from when tables were small, so none may be one that reads a
-- whole table.

create or replace function private.last_event(run_id uuid)
returns int
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  return coalesce((select max(run_events.seq) from ai.run_events where run_events.run_id = last_event.run_id), 0);
end;
$$;

create or replace function private.last_begun_step(run_id uuid)
returns int
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  return (
    select (run_events.payload ->> 'step')::int
    from ai.run_events
    where run_events.run_id = last_begun_step.run_id and run_events.type = 'step_started'
    order by run_events.seq desc
    limit 1
  );
end;
$$;

create or replace function private.is_member(tenant_id uuid, user_id uuid)
returns boolean
language plpgsql
stable
security definer
set search_path = ''
set enable_seqscan = off
as $$
begin
  return exists (
    select from public.memberships
    where memberships.tenant_id = is_member.tenant_id and memberships.user_id = is_member.user_id
  );
end;
$$;

create or replace function private.budgets_of(tenant_id uuid, user_id uuid, agent_id uuid, run_id uuid, also uuid[] default '{}')
returns table (budget_id uuid, scope text, period text, max_tokens bigint, subject_id uuid)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  return query
  with candidates as (
    select
      budgets.id, budgets.scope, budgets.period, budgets.max_tokens,
      case budgets.scope
        when 'tenant' then budgets.tenant_id
        when 'user' then budgets_of.user_id
        when 'agent' then budgets_of.agent_id
        else budgets_of.run_id
      end as subject_id,
      -- A limit of one's own takes the place of the one for everybody.
      row_number() over (
        partition by budgets.scope, budgets.period order by budgets.user_id is null and budgets.agent_id is null
      ) as place
    from ai.budgets
    where budgets.tenant_id = budgets_of.tenant_id
      and (budgets.user_id is null or budgets.user_id = budgets_of.user_id)
      and (budgets.agent_id is null or budgets.agent_id = budgets_of.agent_id)
  )
  select candidates.id, candidates.scope, candidates.period, candidates.max_tokens, candidates.subject_id
  from candidates
  where candidates.subject_id is not null and (candidates.place = 1 or candidates.id = any (also));
end;
$$;

create or replace function ai.run_configuration(run_id uuid, lease_token uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  return (
    select jsonb_build_object(
      'principal_role', (
        case
          when agent_runs.user_id is null then 'backend'
          else (
            select memberships.role from public.memberships
            where memberships.tenant_id = agent_runs.tenant_id and memberships.user_id = agent_runs.user_id
          )
        end
      ),
      'tools', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'assignment_id', agent_tools.id, 'tool_type', agent_tools.tool_type, 'tool_name', agent_tools.tool_name,
              'tool_id', agent_tools.tool_id, 'config_override', agent_tools.config_override, 'name', tools.name,
              'description', tools.description, 'input_schema', tools.input_schema, 'config', tools.config,
              'secret_headers', tools.secret_headers, 'permissions', agent_tools.permissions
            )
            order by agent_tools.created_at, agent_tools.id
          ),
          '[]'
        )
        from ai.agent_tools
        left join ai.tools on tools.tenant_id = agent_tools.tenant_id and tools.id = agent_tools.tool_id
        where agent_tools.tenant_id = agent_runs.tenant_id and agent_tools.agent_id = agent_runs.agent_id
      ),
      'mcp_servers', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'id', agent_mcp_servers.id, 'name', agent_mcp_servers.name, 'url', agent_mcp_servers.url,
              'config', agent_mcp_servers.config, 'secret_headers', agent_mcp_servers.secret_headers,
              'pinned_tools', agent_mcp_servers.pinned_tools, 'permissions', agent_mcp_servers.permissions
            )
            order by agent_mcp_servers.created_at, agent_mcp_servers.id
          ),
          '[]'
        )
        from ai.agent_mcp_servers
        where agent_mcp_servers.tenant_id = agent_runs.tenant_id and agent_mcp_servers.agent_id = agent_runs.agent_id
          and agent_mcp_servers.enabled
      ),
      'hooks', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'id', hooks.id, 'event', hooks.event, 'matcher', hooks.matcher, 'type', hooks.type, 'config', hooks.config,
              'position', hooks.position
            )
            order by hooks.position, hooks.created_at, hooks.id
          ),
          '[]'
        )
        from ai.hooks
        where hooks.tenant_id = agent_runs.tenant_id and hooks.agent_id = agent_runs.agent_id and hooks.enabled
      ),
      'knowledge_bases', (
        select coalesce(
          jsonb_agg(
            jsonb_build_object(
              'id', knowledge_bases.id, 'name', knowledge_bases.name, 'description', knowledge_bases.description,
              'config', agent_knowledge_bases.config
            )
            order by agent_knowledge_bases.created_at, agent_knowledge_bases.id
          ),
          '[]'
        )
        from ai.agent_knowledge_bases
        join ai.knowledge_bases
          on knowledge_bases.tenant_id = agent_knowledge_bases.tenant_id
          and knowledge_bases.id = agent_knowledge_bases.knowledge_base_id
        where agent_knowledge_bases.tenant_id = agent_runs.tenant_id and agent_knowledge_bases.agent_id = agent_runs.agent_id
      )
    )
    from ai.agent_runs
    where agent_runs.id = run_configuration.run_id and agent_runs.lease_token = run_configuration.lease_token
  );
end;
$$;

create or replace function ai.describe_tables(tables jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(described.entry order by described.schema, described.name), '[]')
    from (
      select
        pg_namespace.nspname as schema,
        pg_class.relname as name,
        jsonb_build_object(
          'schema', pg_namespace.nspname,
          'name', pg_class.relname,
          'columns', (
            select coalesce(jsonb_agg(jsonb_build_object('name', columns.attname, 'type', pg_catalog.format_type(columns.atttypid, null)) order by columns.attnum), '[]')
            from pg_catalog.pg_attribute as columns
            where columns.attrelid = pg_class.oid and columns.attnum > 0 and not columns.attisdropped
              and pg_catalog.has_column_privilege(pg_class.oid, columns.attnum, 'select')
          ),
          'keys', (
            select coalesce(jsonb_agg(keys.columns), '[]')
            from (
              select (
                select jsonb_agg(parts.attname order by listed.position)
                from unnest(pg_constraint.conkey) with ordinality as listed (attnum, position)
                join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.conrelid and parts.attnum = listed.attnum
              ) as columns
              from pg_catalog.pg_constraint
              where pg_constraint.conrelid = pg_class.oid and pg_constraint.contype in ('p', 'u')
            ) as keys
          ),
          'foreignKeys', (
            select coalesce(
              jsonb_agg(
                jsonb_build_object(
                  'name', pg_constraint.conname,
                  'columns', (
                    select jsonb_agg(parts.attname order by listed.position)
                    from unnest(pg_constraint.conkey) with ordinality as listed (attnum, position)
                    join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.conrelid and parts.attnum = listed.attnum
                  ),
                  'schema', referenced_schema.nspname,
                  'table', referenced.relname,
                  'referencedColumns', (
                    select jsonb_agg(parts.attname order by listed.position)
                    from unnest(pg_constraint.confkey) with ordinality as listed (attnum, position)
                    join pg_catalog.pg_attribute as parts on parts.attrelid = pg_constraint.confrelid and parts.attnum = listed.attnum
                  )
                )
                order by pg_constraint.conname
              ),
              '[]'
            )
            from pg_catalog.pg_constraint
            join pg_catalog.pg_class as referenced on referenced.oid = pg_constraint.confrelid
            join pg_catalog.pg_namespace as referenced_schema on referenced_schema.oid = referenced.relnamespace
            where pg_constraint.conrelid = pg_class.oid and pg_constraint.contype = 'f'
          )
        ) as entry
      from jsonb_to_recordset(tables) as asked (schema text, name text)
      join pg_catalog.pg_namespace on pg_namespace.nspname = asked.schema
      join pg_catalog.pg_class on pg_class.relnamespace = pg_namespace.oid and pg_class.relname = asked.name
      where pg_class.relkind in ('r', 'v', 'm', 'p', 'f')
        and pg_catalog.has_schema_privilege(pg_namespace.oid, 'usage')
        and pg_catalog.has_any_column_privilege(pg_class.oid, 'select')
      limit 200
    ) as described
  );
end;
$$;

create or replace function private.tenant_of_job(queue text, id text)
returns uuid
language plpgsql
stable
security definer
set search_path = ''
set enable_seqscan = off
as $$
declare
  subject uuid;
begin
  if id is null or id !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    return null;
  end if;
  subject := id::uuid;
  -- A statement for each: one for all is planned anew each time.
  case regexp_replace(queue, '_dead$', '')
    when 'extract_source', 'render_pages' then return (select sources.tenant_id from ai.sources where sources.id = subject);
    when 'index_source' then return (select indexed_sources.tenant_id from ai.indexed_sources where indexed_sources.id = subject);
    when 'run_agent' then return (select agent_runs.tenant_id from ai.agent_runs where agent_runs.id = subject);
    when 'embed_memory' then return (select memories.tenant_id from public.memories where memories.id = subject);
    when 'reembed_knowledge_base' then return (select reembeddings.tenant_id from private.reembeddings where reembeddings.id = subject);
    when 'enrich_knowledge_base' then return (select enrichments.tenant_id from ai.enrichments where enrichments.id = subject);
    else return null;
  end case;
end;
$$;

create or replace function private.close_reservations(reservation_ids uuid[], usage jsonb)
returns int
language plpgsql
security definer
set search_path = ''
as $$
declare
  locked_run uuid;
  reservations private.token_reservations[];
  reservation private.token_reservations;
  tokens bigint;
  is_estimate boolean;
begin
  -- Most runs have settled all when they end.
  if coalesce(cardinality(reservation_ids), 0) = 0 then
    return 0;
  end if;
  -- Usage names the run: who removes that waits for it before anything of the run's is locked, and has closed all if it was first.
  for locked_run in
    select distinct token_reservations.run_id
    from private.token_reservations
    where token_reservations.id = any (reservation_ids) and token_reservations.run_id is not null
    order by token_reservations.run_id
  loop
    perform from ai.agent_runs where agent_runs.id = locked_run for key share;
  end loop;
  -- All rows before any counter, in a fixed order: who settles and who releases cannot wait for each other in a circle.
  reservations := array(
    select token_reservations
    from private.token_reservations
    where token_reservations.id = any (reservation_ids)
    order by token_reservations.id
    for update
  );
  if cardinality(reservations) = 0 then
    return 0;
  end if;
  foreach reservation in array reservations loop
    perform private.open_budget_counters(
      reservation.tenant_id, reservation.user_id, reservation.agent_id, reservation.run_id, reservation.created_at
    );
  end loop;
  perform
  from private.budget_counters
  where (budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start) in (
    select budgets.budget_id, budgets.subject_id, private.budget_period_start(budgets.period, held.created_at)
    from unnest(reservations) as held
    cross join lateral private.budgets_of(held.tenant_id, held.user_id, held.agent_id, held.run_id, held.budget_ids) as budgets
  )
  order by budget_counters.budget_id, budget_counters.subject_id, budget_counters.period_start
  for update;

  foreach reservation in array reservations loop
    tokens := greatest(
      coalesce((usage ->> 'total_tokens')::bigint, 0),
      coalesce((usage ->> 'prompt_tokens')::bigint, 0) + coalesce((usage ->> 'completion_tokens')::bigint, 0)
    );
    -- A provider that counts nothing is not one that works for nothing.
    is_estimate := tokens = 0;
    if is_estimate then
      tokens := reservation.prompt_tokens;
    end if;
    update private.budget_counters
    set
      used_tokens = budget_counters.used_tokens + tokens,
      -- Never below nothing: a counter that was opened anew since holds none of it, and one that failed here would fail for ever,
      -- with all that are closed beside it.
      reserved_tokens = greatest(
        budget_counters.reserved_tokens
          - case when budget_counters.budget_id = any (reservation.budget_ids) then reservation.reserved_tokens else 0 end,
        0
      )
    from private.budgets_of(
      reservation.tenant_id, reservation.user_id, reservation.agent_id, reservation.run_id, reservation.budget_ids
    ) as budgets
    where budget_counters.budget_id = budgets.budget_id and budget_counters.subject_id = budgets.subject_id
      and budget_counters.period_start = private.budget_period_start(budgets.period, reservation.created_at);
    insert into ai.usage_entries (
      tenant_id, run_id, user_id, agent_id, step, kind, model, provider, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens,
      total_tokens, is_estimate, created_at
    )
    select
      reservation.tenant_id, reservation.run_id, users.id, agents.id, reservation.step,
      reservation.purpose, reservation.model, reservation.provider,
      case when is_estimate then reservation.prompt_tokens else coalesce((usage ->> 'prompt_tokens')::bigint, 0) end,
      coalesce((usage ->> 'completion_tokens')::bigint, 0), coalesce((usage ->> 'reasoning_tokens')::bigint, 0),
      coalesce((usage ->> 'cached_tokens')::bigint, 0), tokens, is_estimate, reservation.created_at
    -- Nothing is kept of a tenant that is being deleted, and nothing refers to people and agents that are gone.
    from public.tenants
    left join auth.users on users.id = reservation.user_id
    left join ai.agents on agents.tenant_id = reservation.tenant_id and agents.id = reservation.agent_id
    where tenants.id = reservation.tenant_id;
  end loop;
  delete from private.token_reservations where token_reservations.id = any (reservation_ids);
  return cardinality(reservations);
end;
$$;
