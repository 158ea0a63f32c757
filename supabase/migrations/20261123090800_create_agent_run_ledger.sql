-- What the executor of a run asks of the database in its own name. Each call names the lease: who has lost it gets nothing.
create function ai.run_configuration(run_id uuid, lease_token uuid)
returns jsonb
language sql
stable
set search_path = ''
as $$
  select jsonb_build_object(
    'tools', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'assignment_id', agent_tools.id, 'tool_type', agent_tools.tool_type, 'tool_name', agent_tools.tool_name,
            'tool_id', agent_tools.tool_id, 'config_override', agent_tools.config_override, 'name', tools.name,
            'description', tools.description, 'input_schema', tools.input_schema, 'config', tools.config,
            'secret_headers', tools.secret_headers
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
            'pinned_tools', agent_mcp_servers.pinned_tools
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
  where agent_runs.id = run_configuration.run_id and agent_runs.lease_token = run_configuration.lease_token;
$$;

comment on function ai.run_configuration(uuid, uuid) is
  'Ledger: what the agent of a run has been given: {tools: [{assignment_id, tool_type, tool_name, tool_id, config_override, name, description, input_schema, config, secret_headers}], '
  'mcp_servers: [{id, name, url, config, secret_headers, pinned_tools}], hooks: [{id, event, matcher, type, config, position}], knowledge_bases: [{id, name, description, config}]}. '
  'Servers and hooks that are not enabled are left out; name to secret_headers are null for built-in tools. Null when the lease is lost.';

create function ai.delegate_run(run_id uuid, lease_token uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  run ai.agent_runs;
  is_entitled boolean;
begin
  select * into run
  from ai.agent_runs
  where agent_runs.id = delegate_run.run_id and agent_runs.lease_token = delegate_run.lease_token;
  if run.id is null then
    return null;
  end if;
  if run.user_id is not null then
    is_entitled := run.principal_id = run.user_id and private.is_member(run.tenant_id, run.user_id);
  else
    is_entitled := exists (
      select from private.tenant_principals
      where tenant_principals.tenant_id = run.tenant_id and tenant_principals.id = run.principal_id
    );
  end if;
  if not is_entitled then
    perform private.raise_error(403, 'forbidden', 'The person this run acts for is not in the tenant any more.', 'Start it as a member of the tenant.');
  end if;
  return jsonb_build_object('sub', run.principal_id, 'tenant_id', run.tenant_id, 'agent_id', run.agent_id, 'run_id', run.run_id);
end;
$$;

comment on function ai.delegate_run(uuid, uuid) is
  'Ledger: whose token may be minted for a run right now: {sub, tenant_id, agent_id, run_id (run_...)}. PT403 forbidden when the person has left the tenant; null when the lease is lost.';

create function ai.record_run_trace(
  run_id uuid,
  lease_token uuid,
  steps jsonb,
  events jsonb,
  reasoning_steps jsonb,
  tool_calls jsonb
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
begin
  update ai.agent_runs
  set
    steps = coalesce(record_run_trace.steps, '[]'), events = coalesce(record_run_trace.events, '[]'),
    reasoning_steps = coalesce(record_run_trace.reasoning_steps, '[]'),
    (tool_call_count, tool_call_error_count, tool_call_duration_ms_total) = (
      select
        count(*), count(*) filter (where (call.value -> 'is_error')::boolean),
        coalesce(sum((call.value ->> 'duration_ms')::numeric), 0)::bigint
      from jsonb_array_elements(coalesce(record_run_trace.tool_calls, '[]')) as call (value)
    )
  where agent_runs.id = record_run_trace.run_id and agent_runs.lease_token = record_run_trace.lease_token
  returning * into run;
  if run.id is null then
    return false;
  end if;
  delete from ai.tool_call_events where tool_call_events.tenant_id = run.tenant_id and tool_call_events.agent_run_id = run.id;
  insert into ai.tool_call_events (
    tenant_id, agent_run_id, agent_id, user_id, model, tool_name, call_id, status, duration_ms, arguments, result, arguments_preview,
    result_preview, error, step, occurred_at
  )
  select
    run.tenant_id, run.id, run.agent_id, run.user_id, coalesce(call.model, run.model), call.tool_name, call.call_id,
    case when call.is_error then 'error' else 'success' end, coalesce(call.duration_ms, 0)::bigint, coalesce(call.arguments, '{}'),
    left(call.result, 50000), left(call.arguments::text, 200), left(call.result, 200),
    case when call.is_error then left(call.result, 2000) end, call.step, coalesce(call.occurred_at, now())
  from jsonb_to_recordset(coalesce(record_run_trace.tool_calls, '[]')) as call (
    step int, call_id text, tool_name text, model text, arguments jsonb, result text, is_error boolean, duration_ms numeric,
    occurred_at timestamptz
  );
  return true;
end;
$$;

comment on function ai.record_run_trace(uuid, uuid, jsonb, jsonb, jsonb, jsonb) is
  'Ledger: stores what happened in a run so far, in place of what was stored before; also as ai.tool_call_events. '
  'tool_calls: [{step, call_id, tool_name, arguments, result, is_error, duration_ms, model?, occurred_at?}]. False when the lease is lost.';

create function ai.request_approval(
  run_id uuid,
  lease_token uuid,
  call_id text,
  tool_name text,
  tool_input jsonb,
  message text,
  timeout_seconds int
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  run ai.agent_runs;
  approval ai.approvals;
  hash constant text := encode(sha256(convert_to(request_approval.tool_input::text, 'UTF8')), 'hex');
begin
  -- Locked: a run that ends meanwhile leaves no approval waiting.
  select * into run
  from ai.agent_runs
  where agent_runs.id = request_approval.run_id and agent_runs.lease_token = request_approval.lease_token
  for no key update;
  if run.id is null then
    return null;
  end if;
  insert into ai.approvals (tenant_id, run_id, agent_id, user_id, call_id, tool_name, tool_input, input_hash, message, expires_at)
  values (
    run.tenant_id, run.id, run.agent_id, run.user_id, request_approval.call_id, request_approval.tool_name, request_approval.tool_input,
    hash, left(request_approval.message, 2000),
    now() + make_interval(secs => least(greatest(coalesce(request_approval.timeout_seconds, 300), 1), 86400))
  )
  on conflict on constraint approvals_run_id_call_id_key do nothing
  returning * into approval;
  if approval.id is null then
    -- Asked before, by an executor that did not hear the answer.
    select * into approval
    from ai.approvals
    where approvals.run_id = run.id and approvals.call_id = request_approval.call_id;
    if approval.input_hash <> hash or approval.tool_name <> request_approval.tool_name then
      perform private.raise_error(409, 'conflict', 'An approval was asked for another call of this id.', 'Give every call an id of its own.');
    end if;
  end if;
  return jsonb_build_object('approval_id', approval.id, 'expires_at', approval.expires_at);
end;
$$;

comment on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int) is
  'Ledger: lets a tool call wait for a person, for timeout_seconds (1 to 86400). Returns {approval_id, expires_at}, the same for the same call; null when the lease is lost. PT409 conflict for the id of another call.';

create function ai.approval_outcome(approval_id uuid, lease_token uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  approval ai.approvals;
begin
  update ai.approvals set status = 'expired'
  from ai.agent_runs
  where approvals.id = approval_outcome.approval_id and approvals.status = 'pending' and approvals.expires_at <= now()
    and agent_runs.tenant_id = approvals.tenant_id and agent_runs.id = approvals.run_id
    and agent_runs.lease_token = approval_outcome.lease_token;
  select approvals.* into approval
  from ai.approvals
  join ai.agent_runs on agent_runs.tenant_id = approvals.tenant_id and agent_runs.id = approvals.run_id
  where approvals.id = approval_outcome.approval_id and agent_runs.lease_token = approval_outcome.lease_token;
  if approval.id is null then
    return null;
  end if;
  return jsonb_build_object('status', approval.status, 'reason', approval.reason);
end;
$$;

comment on function ai.approval_outcome(uuid, uuid) is
  'Ledger: {status: pending, approved, denied or expired, reason}; one whose time is over becomes expired by being asked for. Null when the lease of its run is lost.';

revoke execute on function ai.run_configuration(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.delegate_run(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function ai.record_run_trace(uuid, uuid, jsonb, jsonb, jsonb, jsonb) from public, anon, authenticated, service_role;
revoke execute on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int) from public, anon, authenticated, service_role;
revoke execute on function ai.approval_outcome(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function ai.run_configuration(uuid, uuid) to service_role;
grant execute on function ai.delegate_run(uuid, uuid) to service_role;
grant execute on function ai.record_run_trace(uuid, uuid, jsonb, jsonb, jsonb, jsonb) to service_role;
grant execute on function ai.request_approval(uuid, uuid, text, text, jsonb, text, int) to service_role;
grant execute on function ai.approval_outcome(uuid, uuid) to service_role;
