-- Who brought a document in, who may read it, and what is searched together. Pages and chunks follow their source and have no events.
-- No hash of the bytes: an admin, who may not read a private source, could tell from it that somebody has a certain document.
create trigger audit_inserted after insert on ai.sources referencing new table as new_rows
for each statement execute function private.audit_inserted('source.created', 'source', 'id', 'owner_id visibility file_type');
create trigger audit_updated after update of visibility on ai.sources
for each row when (old.visibility <> new.visibility) execute function private.audit_updated('source.visibility_changed', 'source', 'id', '', 'visibility');
-- Not its states: those change with every step of the ingestion.
create trigger audit_described after update of name, metadata, owner_id on ai.sources
for each row when (old.name <> new.name or old.metadata <> new.metadata or old.owner_id is distinct from new.owner_id) execute function private.audit_updated('source.updated', 'source', 'id', '', 'owner_id');
create trigger audit_deleted after delete on ai.sources referencing old table as old_rows
for each statement execute function private.audit_deleted('source.deleted', 'source', 'id', 'owner_id visibility');
create trigger audit_inserted after insert on ai.source_grants referencing new table as new_rows
for each statement execute function private.audit_inserted('source.granted', 'source', 'source_id', 'user_id group_id');
create trigger audit_deleted after delete on ai.source_grants referencing old table as old_rows
for each statement execute function private.audit_deleted('source.grant_removed', 'source', 'source_id', 'user_id group_id');

create trigger audit_inserted after insert on ai.knowledge_bases referencing new table as new_rows
for each statement execute function private.audit_inserted('knowledge_base.created', 'knowledge_base', 'id', 'is_default');
create trigger audit_updated after update on ai.knowledge_bases
for each row execute function private.audit_updated('knowledge_base.updated', 'knowledge_base', 'id', '', '');
create trigger audit_deleted after delete on ai.knowledge_bases referencing old table as old_rows
for each statement execute function private.audit_deleted('knowledge_base.deleted', 'knowledge_base', 'id', '');
