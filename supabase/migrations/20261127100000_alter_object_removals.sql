-- A removal may be of many objects: the page images of a document go together.
alter table private.object_removals
  add column more_paths text[] not null default '{}',
  add constraint object_removals_more_paths_have_a_number check (cardinality(more_paths) <= 10000);

comment on column private.object_removals.more_paths is 'Further objects that go with the first.';
