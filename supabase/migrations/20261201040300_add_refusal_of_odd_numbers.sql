-- Triggers and no checks: what is there already stays, and whoever changes something else of such a row is not held up by it.
create function private.refuse_odd_numbers()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.raise_error(
    400, 'invalid_request', 'A number has more than 309 digits, or more than 400 behind the point.', 'Send it as text.'
  );
  return null; -- not reached
end;
$$;

comment on function private.refuse_odd_numbers() is
  'Trigger: refuses (PT400 invalid_request) a row for which private.has_plain_numbers() does not hold.';

revoke execute on function private.refuse_odd_numbers() from public;

create trigger refuse_odd_numbers before insert or update of metadata on ai.sources
for each row when (not private.has_plain_numbers(new.metadata)) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of indexing_config, retrieval_config on ai.knowledge_bases
for each row when (not (private.has_plain_numbers(new.indexing_config) and private.has_plain_numbers(new.retrieval_config))) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of settings on ai.agents
for each row when (not private.has_plain_numbers(new.settings)) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of config on ai.agent_knowledge_bases
for each row when (not private.has_plain_numbers(new.config)) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of input_schema, config on ai.tools
for each row when (not (private.has_plain_numbers(new.input_schema) and private.has_plain_numbers(new.config))) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of config_override on ai.agent_tools
for each row when (not private.has_plain_numbers(new.config_override)) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of config on ai.hooks
for each row when (not private.has_plain_numbers(new.config)) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of config, pinned_tools on ai.agent_mcp_servers
for each row when (not (private.has_plain_numbers(new.config) and private.has_plain_numbers(new.pinned_tools))) execute function private.refuse_odd_numbers();
create trigger refuse_odd_numbers before insert or update of knowledge_base_configs, retrieved_context, metadata, errors on ai.context_handlers
for each row when (not (private.has_plain_numbers(new.knowledge_base_configs) and private.has_plain_numbers(new.retrieved_context) and private.has_plain_numbers(new.metadata) and private.has_plain_numbers(new.errors))) execute function private.refuse_odd_numbers();
