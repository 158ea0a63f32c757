-- Who wants a source indexed pays for the models that are asked: else any member could use up the budget of a colleague by putting
-- what they may read of theirs into a knowledge base that asks.
alter table ai.indexed_sources
  add column requested_by uuid,
  add constraint indexed_sources_requested_by_fkey foreign key (requested_by) references auth.users (id) on delete set null;
alter table ai.indexed_sources alter column requested_by set default private.caller_user_id();

create index indexed_sources_requested_by_idx on ai.indexed_sources (requested_by);

comment on column ai.indexed_sources.requested_by is
  'Who put the source into the knowledge base, or had it indexed anew last, and pays for the models that are asked. Null: a backend; then the owner of the source pays.';
