-- What an agent is, and what it has been given. The names of the fields that change, not what is in them: they hold prompts and secrets.
create trigger audit_inserted after insert on ai.agents referencing new table as new_rows
for each statement execute function private.audit_inserted('agent.created', 'agent', 'id', 'is_default');
create trigger audit_updated after update on ai.agents
for each row execute function private.audit_updated('agent.updated', 'agent', 'id', '', 'published');
create trigger audit_deleted after delete on ai.agents referencing old table as old_rows
for each statement execute function private.audit_deleted('agent.deleted', 'agent', 'id', '');
create trigger audit_inserted after insert on ai.agent_knowledge_bases referencing new table as new_rows
for each statement execute function private.audit_inserted('agent.knowledge_base_added', 'agent', 'agent_id', 'knowledge_base_id');
create trigger audit_updated after update on ai.agent_knowledge_bases
for each row execute function private.audit_updated('agent.knowledge_base_updated', 'agent', 'agent_id', 'knowledge_base_id', '');
create trigger audit_deleted after delete on ai.agent_knowledge_bases referencing old table as old_rows
for each statement execute function private.audit_deleted('agent.knowledge_base_removed', 'agent', 'agent_id', 'knowledge_base_id');
create trigger audit_inserted after insert on ai.agent_tools referencing new table as new_rows
for each statement execute function private.audit_inserted('agent.tool_added', 'agent', 'agent_id', 'id tool_type tool_name tool_id');
create trigger audit_updated after update on ai.agent_tools
for each row execute function private.audit_updated('agent.tool_updated', 'agent', 'agent_id', 'id tool_type tool_name tool_id', '');
create trigger audit_deleted after delete on ai.agent_tools referencing old table as old_rows
for each statement execute function private.audit_deleted('agent.tool_removed', 'agent', 'agent_id', 'id tool_type tool_name tool_id');

create trigger audit_inserted after insert on ai.tools referencing new table as new_rows
for each statement execute function private.audit_inserted('tool.created', 'tool', 'id', 'type');
create trigger audit_updated after update on ai.tools
for each row execute function private.audit_updated('tool.updated', 'tool', 'id', 'type', '');
create trigger audit_deleted after delete on ai.tools referencing old table as old_rows
for each statement execute function private.audit_deleted('tool.deleted', 'tool', 'id', 'type');
create trigger audit_inserted after insert on ai.agent_mcp_servers referencing new table as new_rows
for each statement execute function private.audit_inserted('mcp_server.created', 'mcp_server', 'id', 'agent_id enabled');
create trigger audit_updated after update on ai.agent_mcp_servers
for each row execute function private.audit_updated('mcp_server.updated', 'mcp_server', 'id', 'agent_id', 'enabled');
create trigger audit_deleted after delete on ai.agent_mcp_servers referencing old table as old_rows
for each statement execute function private.audit_deleted('mcp_server.deleted', 'mcp_server', 'id', 'agent_id');
create trigger audit_inserted after insert on ai.hooks referencing new table as new_rows
for each statement execute function private.audit_inserted('hook.created', 'hook', 'id', 'agent_id event type enabled');
create trigger audit_updated after update on ai.hooks
for each row execute function private.audit_updated('hook.updated', 'hook', 'id', 'agent_id event type', 'enabled');
create trigger audit_deleted after delete on ai.hooks referencing old table as old_rows
for each statement execute function private.audit_deleted('hook.deleted', 'hook', 'id', 'agent_id event type');
