-- Tokens are reserved and counted for indexing and for searches that ask a model, as for runs and enrichments.
alter table private.token_reservations
  add column purpose text not null default 'chat',
  add column indexed_source_id uuid,
  add column expires_at timestamptz,
  drop constraint token_reservations_are_of_one_thing,
  drop constraint token_reservations_of_runs_have_a_step;

update private.token_reservations set purpose = 'enrichment' where enrichment_id is not null;

alter table private.token_reservations
  add constraint token_reservations_purpose_is_known check (purpose in ('chat', 'enrichment', 'indexing', 'search')),
  add constraint token_reservations_of_runs_have_a_step check (purpose <> 'chat' or (run_id is not null and step is not null)),
  add constraint token_reservations_of_enrichments_name_one check ((purpose = 'enrichment') = (enrichment_id is not null)),
  add constraint token_reservations_of_indexing_name_a_source check ((purpose = 'indexing') = (indexed_source_id is not null)),
  add constraint token_reservations_without_a_lease_expire check ((purpose = 'search') = (expires_at is not null)),
  add constraint token_reservations_of_runs_are_chat_or_search check (run_id is null or purpose in ('chat', 'search')),
  add constraint token_reservations_indexed_source_fkey foreign key (tenant_id, indexed_source_id) references ai.indexed_sources (tenant_id, id) on delete cascade;

comment on column private.token_reservations.purpose is 'What the model is asked for; the kind of the usage entry that comes of it.';
comment on column private.token_reservations.enrichment_id is 'The enrichment that the call is made for.';
comment on column private.token_reservations.indexed_source_id is 'The source whose indexing the call is made for.';
comment on column private.token_reservations.expires_at is 'When a search''s call counts as one that nobody heard of: a search has no lease that could be lost.';

create index token_reservations_tenant_id_indexed_source_id_idx on private.token_reservations (tenant_id, indexed_source_id);
create index token_reservations_expires_at_idx on private.token_reservations (expires_at) where expires_at is not null;

alter table ai.usage_entries
  drop constraint usage_entries_kind_is_known,
  add constraint usage_entries_kind_is_known check (kind in ('chat', 'enrichment', 'indexing', 'search', 'embedding', 'rerank'));

comment on column ai.usage_entries.kind is
  'chat: runs of agents; enrichment: enriching a knowledge base; indexing and search: models asked while a source is indexed or searched for; embedding and rerank: vectors and rescoring, which are no part of budgets.';
