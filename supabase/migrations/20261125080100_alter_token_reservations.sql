-- Tokens are reserved and counted for the enrichment of a knowledge base as for runs of agents.
alter table private.token_reservations
  alter column run_id drop not null,
  alter column step drop not null,
  add column enrichment_id uuid,
  add constraint token_reservations_enrichment_fkey foreign key (tenant_id, enrichment_id) references ai.enrichments (tenant_id, id) on delete cascade,
  add constraint token_reservations_are_of_one_thing check (num_nonnulls(run_id, enrichment_id) = 1),
  add constraint token_reservations_of_runs_have_a_step check (run_id is null or step is not null);

comment on column private.token_reservations.enrichment_id is 'The enrichment that the call is made for; null: a run.';

create index token_reservations_tenant_id_enrichment_id_idx on private.token_reservations (tenant_id, enrichment_id);

alter table ai.usage_entries
  drop constraint usage_entries_kind_is_known,
  add constraint usage_entries_kind_is_known check (kind in ('chat', 'embedding', 'enrichment'));

comment on column ai.usage_entries.kind is
  'chat: runs of agents; enrichment: enriching a knowledge base; embedding: indexing, which is no part of budgets.';
