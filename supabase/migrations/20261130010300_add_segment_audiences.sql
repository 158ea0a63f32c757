-- Whom a segment may be searched by: its tenant, its owner, or its owner and whom it is granted to. private.caller_segment_ids()
-- asks this expression, so that nobody walks past what colleagues keep to themselves.
-- No pending list: one that all tenants share would make everybody's search do everybody's work.
create index search_segments_audience_idx on private.search_segments using gin (
  (case visibility when 'tenant' then array[tenant_id] when 'granted' then owner_id || allowed_principals else array[owner_id] end)
)
with (fastupdate = off);
