-- First form: exact over what the caller can see. Every row, count and statistic comes from tables read under the caller's
-- row-level security, so nothing of another tenant, nor of a hidden source, can move a score or a rank.
create function ai.search(
  query text,
  query_embedding extensions.vector default null,
  embedding_model text default null,
  knowledge_base_ids uuid[] default null,
  match_count int default 10,
  source_ids uuid[] default null,
  filter_metadata jsonb default null,
  method text default 'hybrid',
  vector_weight real default 0.5,
  similarity_threshold real default 0
)
returns table (
  chunk_id uuid,
  source_id uuid,
  source_name text,
  knowledge_base_id uuid,
  indexed_source_id uuid,
  text text,
  score float8,
  vector_score float8,
  text_score float8,
  chunk_index int,
  start_char int,
  end_char int,
  meta jsonb
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
#variable_conflict use_column
declare
  row_limit constant int := least(greatest(coalesce(match_count, 10), 1), 100);
  -- How many of each leg are fused: enough that a row low in one leg can still win by the other.
  leg_limit constant int := greatest(row_limit, 60);
  weight constant float8 := least(greatest(coalesce(vector_weight, 0.5), 0), 1);
  -- k1 and b of BM25 (Robertson and Zaragoza, 2009); k = 60 of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009).
  k1 constant float8 := 1.2;
  b constant float8 := 0.75;
  rrf_k constant float8 := 60;
  uses_vectors constant boolean := query_embedding is not null and search.method in ('hybrid', 'vector_search');
  uses_text constant boolean := search.method in ('hybrid', 'full_text');
  terms text[];
  any_term tsquery;
begin
  if search.method is null or search.method not in ('hybrid', 'vector_search', 'full_text') then
    perform private.raise_error(400, 'invalid_request', 'method must be hybrid, vector_search or full_text.', null);
  end if;
  if search.query is null or char_length(search.query) not between 1 and 4000 then
    perform private.raise_error(400, 'invalid_request', 'query must have 1 to 4000 characters.', 'Shorten the query.');
  end if;
  if search.method = 'vector_search' and query_embedding is null then
    perform private.raise_error(400, 'invalid_request', 'vector_search needs query_embedding.', 'Send the embedding of the query, or use full_text.');
  end if;
  if query_embedding is not null then
    if search.embedding_model is null then
      perform private.raise_error(400, 'invalid_request', 'query_embedding needs embedding_model.', 'Name the model that made the vector.');
    end if;
    if extensions.vector_norm(query_embedding) = 0 then
      perform private.raise_error(400, 'invalid_embedding', 'query_embedding is the zero vector.', 'A zero vector has no direction to compare.');
    end if;
  end if;
  if search.filter_metadata is not null and jsonb_typeof(search.filter_metadata) <> 'object' then
    perform private.raise_error(400, 'invalid_request', 'filter_metadata must be a JSON object.', null);
  end if;

  if uses_text then
    select array_agg(lexemes.lexeme order by lexemes.lexeme)
    into terms
    from (
      select found.lexeme
      from unnest(to_tsvector('pg_catalog.english', search.query)) as found
      order by char_length(found.lexeme) desc, found.lexeme
      limit 32
    ) as lexemes;
    -- OR, not AND: a question rarely has all its words in one chunk.
    select string_agg(quote_literal(term), ' | ')::tsquery into any_term from unnest(terms) as term;
  end if;

  return query
  with visible as materialized (
    select
      chunks.id,
      case when uses_text then chunk_index.lexemes end as lexemes,
      chunk_index.lexeme_count,
      case
        when uses_vectors
          and chunk_index.embedding_model = search.embedding_model
          and extensions.vector_dims(chunk_index.embedding) = extensions.vector_dims(query_embedding)
          -- A zero vector has no direction and a similarity of NaN, which would sort before everything.
          then coalesce(nullif(1 - (chunk_index.embedding operator(extensions.<=>) query_embedding), 'NaN'), 0)
      end as similarity
    from ai.chunks
    join private.chunk_index on chunk_index.chunk_id = chunks.id
    where (search.knowledge_base_ids is null or chunks.knowledge_base_id = any (search.knowledge_base_ids))
      and (search.source_ids is null or chunks.source_id = any (search.source_ids))
      and (
        search.filter_metadata is null
        or exists (select from ai.sources where sources.id = chunks.source_id and sources.metadata @> search.filter_metadata)
      )
  ),
  statistics as (
    select count(*)::float8 as chunk_count, greatest(avg(visible.lexeme_count), 1)::float8 as average_length from visible
  ),
  hits as materialized (
    select visible.id, term.term
    from visible
    cross join unnest(terms) as term (term)
    where visible.lexemes operator(pg_catalog.@@) any_term
      and visible.lexemes operator(pg_catalog.@@) quote_literal(term.term)::tsquery
  ),
  weights as materialized (
    select
      hits.term,
      ln(1 + (statistics.chunk_count - count(*) + 0.5) / (count(*) + 0.5)) as idf
    from hits
    cross join statistics
    group by hits.term, statistics.chunk_count
  ),
  -- Unpacking positions is the costly part of BM25: only the chunks with the most telling terms are ranked exactly.
  candidates as (
    select hits.id
    from hits
    join weights on weights.term = hits.term
    group by hits.id
    order by sum(weights.idf) desc, hits.id
    limit 500
  ),
  ranked_text as (
    select
      visible.id,
      sum(
        weights.idf * cardinality(entry.positions) * (k1 + 1)
        / (cardinality(entry.positions) + k1 * (1 - b + b * visible.lexeme_count / statistics.average_length))
      ) as bm25
    from candidates
    join visible on visible.id = candidates.id
    cross join statistics
    cross join lateral unnest(visible.lexemes) as entry
    join weights on weights.term = entry.lexeme
    group by visible.id
  ),
  text_leg as (
    select ranked_text.id, ranked_text.bm25, row_number() over (order by ranked_text.bm25 desc, ranked_text.id) - 1 as position
    from ranked_text
    order by ranked_text.bm25 desc, ranked_text.id
    limit leg_limit
  ),
  vector_leg as (
    select visible.id, visible.similarity, row_number() over (order by visible.similarity desc, visible.id) - 1 as position
    from visible
    where visible.similarity is not null
      and (search.method <> 'vector_search' or visible.similarity >= coalesce(search.similarity_threshold, 0))
    order by visible.similarity desc, visible.id
    limit leg_limit
  ),
  fused as (
    select
      coalesce(vector_leg.id, text_leg.id) as id,
      case search.method
        when 'vector_search' then vector_leg.similarity
        when 'full_text' then text_leg.bm25
        else coalesce(weight / (rrf_k + vector_leg.position), 0) + coalesce((1 - weight) / (rrf_k + text_leg.position), 0)
      end as raw_score,
      vector_leg.similarity,
      text_leg.bm25
    from vector_leg
    full join text_leg on text_leg.id = vector_leg.id
  ),
  best as (
    select fused.* from fused order by fused.raw_score desc, fused.id limit row_limit
  )
  select
    chunks.id,
    chunks.source_id,
    sources.name,
    chunks.knowledge_base_id,
    chunks.indexed_source_id,
    chunks.text,
    case
      when search.method = 'vector_search' then best.raw_score
      else best.raw_score / nullif(max(best.raw_score) over (), 0)
    end,
    best.similarity,
    best.bm25,
    chunks.chunk_index,
    chunks.start_char,
    chunks.end_char,
    chunks.meta
  from best
  join ai.chunks on chunks.id = best.id
  left join ai.sources on sources.id = chunks.source_id
  order by best.raw_score desc, best.id;
end;
$$;

comment on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real) is
  'Searches the chunks the caller can see. hybrid: reciprocal rank fusion of cosine similarity and BM25 (scores divided by the best, so 1 leads); vector_search: cosine '
  'similarity, filtered by similarity_threshold; full_text: BM25. Only vectors of embedding_model are compared. Returns min(match_count, visible) rows when the query has a vector '
  'and no threshold. match_count 1..100, query 1..4000 characters. PT400 invalid_request or invalid_embedding.';

revoke execute on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real) from public, anon, authenticated, service_role;
grant execute on function ai.search(text, extensions.vector, text, uuid[], int, uuid[], jsonb, text, real, real) to authenticated;
