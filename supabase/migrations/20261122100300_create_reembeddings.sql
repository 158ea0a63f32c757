-- Embedding models side by side: a knowledge base, or the memories of a tenant, is given vectors of another model in the
-- background while search compares those it has, and then changes over in one transaction.
alter table ai.knowledge_bases add column next_embedding_model text;
alter table public.tenants add column memory_embedding_model text, add column next_memory_embedding_model text;

comment on column ai.knowledge_bases.next_embedding_model is
  'Model that its chunks are being given vectors of; null when none. See ai.reembed_knowledge_base() and ai.reembedding_progress().';
comment on column public.tenants.memory_embedding_model is
  'Model of the vectors that searching memories compares. Null until the first memory is embedded.';
comment on column public.tenants.next_memory_embedding_model is 'Model that the memories are being given vectors of; null when none.';

create table private.reembeddings (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  knowledge_base_id uuid,
  embedding_model text not null,
  switches_when_complete boolean not null default true,
  status text not null default 'pending',
  error_code text,
  reason_code text,
  error_message text,
  attempts int not null default 0,
  next_retry_at timestamptz,
  lease_token uuid,
  leased_by text,
  lease_expires_at timestamptz,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  constraint reembeddings_tenant_id_fkey foreign key (tenant_id) references public.tenants (id) on delete cascade,
  constraint reembeddings_knowledge_base_fkey foreign key (tenant_id, knowledge_base_id) references ai.knowledge_bases (tenant_id, id) on delete cascade,
  constraint reembeddings_tenant_id_knowledge_base_id_key unique nulls not distinct (tenant_id, knowledge_base_id),
  constraint reembeddings_status_is_known check (status in ('pending', 'running', 'complete', 'failed')),
  constraint reembeddings_lease_matches_status check ((status = 'running') = (lease_token is not null)),
  constraint reembeddings_finished_at_matches_status check (status <> 'complete' or finished_at is not null),
  constraint reembeddings_failure_has_a_reason check (status <> 'failed' or (error_code is not null and error_message is not null))
);

comment on table private.reembeddings is
  'The last request to embed a knowledge base, or the memories of a tenant, with another model, and how far it is. Carried out by the job reembed_knowledge_base.';
comment on column private.reembeddings.knowledge_base_id is 'Null: the memories of the tenant.';
comment on column private.reembeddings.lease_token is 'Fencing token of the worker that is at it; every write of its must carry it.';

alter table private.reembeddings enable row level security;
alter table private.reembeddings force row level security;
revoke all on table private.reembeddings from anon, authenticated, service_role;
grant select (
  id, tenant_id, knowledge_base_id, embedding_model, switches_when_complete, status, error_code, reason_code, error_message,
  attempts, next_retry_at, created_at, finished_at
) on table private.reembeddings to authenticated;
grant select, insert, update, delete on table private.reembeddings to service_role;

create policy "members see the re-embeddings of their tenants" on private.reembeddings
for select to authenticated
using (tenant_id = any (array(select private.caller_tenant_ids())));

create trigger refuse_tenant_change before update on private.reembeddings for each row execute function private.refuse_tenant_change();

select pgboss.create_queue('reembed_knowledge_base_dead', '{"policy": "short", "retryLimit": 20, "retryDelay": 30, "notify": true}');
select pgboss.create_queue('reembed_knowledge_base', '{"policy": "short", "retryLimit": 4, "retryDelay": 2, "retryBackoff": true, "retryDelayMax": 300, "expireInSeconds": 86400, "heartbeatSeconds": 30, "deadLetter": "reembed_knowledge_base_dead", "notify": true}');

create function private.may_change_knowledge_base(knowledge_base_id uuid)
returns boolean
language sql
stable
set search_path = ''
as $$
  select exists (
    select from ai.knowledge_bases
    where knowledge_bases.id = may_change_knowledge_base.knowledge_base_id
      and (
        knowledge_bases.tenant_id = any (array(select private.caller_tenant_ids('admin')))
        or (
          knowledge_bases.created_by = (select auth.uid())
          and knowledge_bases.tenant_id = any (array(select private.caller_tenant_ids('member')))
        )
      )
  );
$$;

comment on function private.may_change_knowledge_base(uuid) is 'Whether the caller created this knowledge base or is an admin of its tenant.';

create function private.hold_embedding_model(scope uuid, exclusively boolean)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if exclusively then
    perform pg_advisory_xact_lock(hashtextextended('private.hold_embedding_model ' || scope, 0));
  else
    perform pg_advisory_xact_lock_shared(hashtextextended('private.hold_embedding_model ' || scope, 0));
  end if;
end;
$$;

comment on function private.hold_embedding_model(uuid, boolean) is
  'Until the end of the transaction the embedding model of a knowledge base (or, by its id, of a tenant''s memories) stays as it is, or is the caller''s to change. Taken before any row: whoever stores vectors holds it shared.';

revoke execute on function private.may_change_knowledge_base(uuid) from public;
revoke execute on function private.hold_embedding_model(uuid, boolean) from public;
grant execute on function private.may_change_knowledge_base(uuid) to authenticated;
grant execute on function private.hold_embedding_model(uuid, boolean) to service_role;
