create or replace function ai.claim_object_removal(id uuid)
returns jsonb
language sql
set search_path = ''
as $$
  select
    jsonb_build_object('storage_path', object_removals.storage_path)
    || case when cardinality(object_removals.more_paths) > 0 then jsonb_build_object('more_paths', object_removals.more_paths) else '{}' end
  from private.object_removals
  where object_removals.id = claim_object_removal.id;
$$;

comment on function ai.claim_object_removal(uuid) is
  'Ledger: {"storage_path", "more_paths"?} of objects to remove, or null if that is done. Removing twice is harmless.';
