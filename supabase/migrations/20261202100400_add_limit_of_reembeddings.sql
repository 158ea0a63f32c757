-- One re-embedding may take hours, and a worker had one place for those of all tenants. It has two now, of which a tenant takes one.
insert into private.queue_limits (queue, max_active_per_tenant) values ('reembed_knowledge_base', 1)
-- An operator may have set one.
on conflict (queue) do nothing;
