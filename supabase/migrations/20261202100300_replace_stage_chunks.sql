-- As with vectors of another model (ai.store_reembedded): a long document is embedded in as many calls of the function `worker` as it
-- takes, while each of them brings it on.
create or replace function ai.stage_chunks(indexed_source_id uuid, lease_token uuid, chunks jsonb, embedding_model text)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  held ai.indexed_sources := private.holds_indexing_lease(indexed_source_id, lease_token);
begin
  if held.id is null then
    return false;
  end if;
  -- What is counted are beginnings that brought nothing. Chunks that are staged once more are nothing new.
  if held.attempts > 1 and exists (
    select
    from jsonb_to_recordset(stage_chunks.chunks) as chunk (chunk_index int)
    where not exists (
      select from private.staged_chunks
      where staged_chunks.indexed_source_id = held.id and staged_chunks.chunk_index = chunk.chunk_index
    )
  ) then
    update ai.indexed_sources set attempts = 1 where indexed_sources.id = held.id;
  end if;
  insert into private.staged_chunks (
    indexed_source_id, tenant_id, chunk_index, content_hash, text, context, start_char, end_char, tokens, score, meta, embedding_model, embedding
  )
  select
    held.id, held.tenant_id, chunk.chunk_index, chunk.content_hash, chunk.text, chunk.context, chunk.start_char, chunk.end_char, chunk.tokens,
    chunk.score, coalesce(chunk.meta, '{}'), stage_chunks.embedding_model, chunk.embedding::text::extensions.vector
  from jsonb_to_recordset(stage_chunks.chunks) as chunk (
    chunk_index int, content_hash text, text text, context text, start_char int, end_char int, tokens int, score real, meta jsonb, embedding jsonb
  )
  on conflict on constraint staged_chunks_pkey do update set
    content_hash = excluded.content_hash, text = excluded.text, context = excluded.context, start_char = excluded.start_char,
    end_char = excluded.end_char, tokens = excluded.tokens, score = excluded.score, meta = excluded.meta,
    embedding_model = excluded.embedding_model, embedding = excluded.embedding;
  return true;
end;
$$;

comment on column ai.indexed_sources.attempts is 'How often indexing was begun since it last got further.';
