-- A document that a model is asked about part by part keeps the answers among its staged chunks until all are there.
create function ai.read_staged_meta(indexed_source_id uuid, lease_token uuid, from_chunk int)
returns jsonb
language sql
set search_path = ''
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object('chunk_index', staged_chunks.chunk_index, 'content_hash', staged_chunks.content_hash, 'meta', staged_chunks.meta)
      order by staged_chunks.chunk_index
    ),
    '[]'
  )
  from private.holds_indexing_lease(read_staged_meta.indexed_source_id, read_staged_meta.lease_token) as held
  join private.staged_chunks on staged_chunks.indexed_source_id = held.id
  where staged_chunks.chunk_index >= read_staged_meta.from_chunk;
$$;

comment on function ai.read_staged_meta(uuid, uuid, int) is
  'Ledger: what earlier attempts were told by a model about parts of the source, for the holder of its lease only.';

comment on column ai.indexed_sources.stats is
  'Of the last indexing: chunk_count, token_count, reused_count; where a model was asked, model_questions and what came of it, and notes, a list of sentences.';

revoke execute on function ai.read_staged_meta(uuid, uuid, int) from public, anon, authenticated, service_role;
grant execute on function ai.read_staged_meta(uuid, uuid, int) to service_role;
