-- The legs of a search. Each returns two arrays, ids and scores, best first; the same rows score the same whoever else is in
-- the database, because every number they use is counted over the segments they are given.
create type private.search_leg as (item_ids uuid[], scores float8[]);

create function private.nearest_in_graph(
  graph_table text,
  segments int[],
  direction extensions.halfvec,
  breadth int,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_sort = off -- of the plans that are left, the graph's is the only cheap one
set hnsw.iterative_scan = relaxed_order
as $$
declare
  leg private.search_leg;
begin
  perform set_config('hnsw.ef_search', breadth::text, true);
  execute format(
    'select array_agg(near.item_id order by near.distance, near.item_id), array_agg(-near.distance order by near.distance, near.item_id) '
    'from (select item_id, embedding operator(extensions.<#>) $1::extensions.halfvec(%1$s) as distance from private.%2$I '
    'where segment_id = any ($2) order by embedding operator(extensions.<#>) $1::extensions.halfvec(%1$s) limit $3) as near',
    extensions.vector_dims(direction), graph_table
  ) into leg using direction, segments, leg_limit;
  return leg;
exception
  -- Retired while we were looking: the caller scans instead.
  when undefined_table then return null;
end;
$$;

comment on function private.nearest_in_graph(text, int[], extensions.halfvec, int, int) is
  'The leg_limit items of a graph nearest to a direction, by HNSW with `breadth` candidates (ef_search). Null when the graph is gone. Planned at each call, for one table only.';

create function private.nearest_in_segments(
  segments int[],
  sources uuid[],
  among uuid[],
  vector_set_id int,
  direction extensions.halfvec,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  leg private.search_leg;
begin
  -- Three statements, so that each has the one index that serves it. Aggregates keep the order of a sorted subquery; an order
  -- of their own would cost a small search a third sort.
  if among is not null then
    select array_agg(near.item_id), array_agg(-near.distance)
    into leg
    from (
      select vectors.item_id, vectors.embedding operator(extensions.<#>) direction as distance
      from private.search_vectors as vectors
      where vectors.item_id = any (among)
        and vectors.vector_set_id = nearest_in_segments.vector_set_id
        and vectors.segment_id = any (segments)
      order by 2, 1
      limit leg_limit
    ) as near;
  elsif sources is not null then
    select array_agg(near.item_id), array_agg(-near.distance)
    into leg
    from (
      select vectors.item_id, vectors.embedding operator(extensions.<#>) direction as distance
      from private.search_vectors as vectors
      where vectors.source_id = any (sources)
        and vectors.vector_set_id = nearest_in_segments.vector_set_id
        and vectors.segment_id = any (segments)
      order by 2, 1
      limit leg_limit
    ) as near;
  else
    select array_agg(near.item_id), array_agg(-near.distance)
    into leg
    from (
      select vectors.item_id, vectors.embedding operator(extensions.<#>) direction as distance
      from private.search_vectors as vectors
      where vectors.segment_id = any (segments) and vectors.vector_set_id = nearest_in_segments.vector_set_id
      order by 2, 1
      limit leg_limit
    ) as near;
  end if;
  return leg;
end;
$$;

comment on function private.nearest_in_segments(int[], uuid[], uuid[], int, extensions.halfvec, int) is
  'The leg_limit items nearest to a direction, exactly: of the segments, or of some sources or items in them.';

create function private.merge_legs(one private.search_leg, other private.search_leg, leg_limit int)
returns private.search_leg
language plpgsql
immutable
set search_path = ''
as $$
declare
  leg private.search_leg;
begin
  if one.item_ids is null then
    return other;
  elsif other.item_ids is null then
    return one;
  end if;
  select array_agg(merged.item_id), array_agg(merged.score)
  into leg
  from (
    select both_legs.item_id, both_legs.score
    from unnest(one.item_ids || other.item_ids, one.scores || other.scores) as both_legs (item_id, score)
    order by both_legs.score desc, both_legs.item_id
    limit leg_limit
  ) as merged;
  return leg;
end;
$$;

comment on function private.merge_legs(private.search_leg, private.search_leg, int) is 'The best of two lists whose scores compare.';

create function private.nearest_items(
  tenants uuid[],
  shared_segments int[],
  own_segments int[],
  shared_items bigint,
  sources uuid[],
  among uuid[],
  embedding_model text,
  query_embedding extensions.vector,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  direction constant extensions.halfvec := extensions.l2_normalize(query_embedding)::extensions.halfvec;
  dims constant int := extensions.vector_dims(query_embedding);
  vector_set record;
  near private.search_leg;
  leg private.search_leg;
begin
  for vector_set in
    select sets.id, sets.dimensions, sets.shared_count, sets.graph_state, sets.graph_table
    from private.vector_sets as sets
    where sets.tenant_id = any (tenants) and sets.embedding_model = nearest_items.embedding_model
  loop
    if vector_set.dimensions <> dims then
      perform private.raise_error(
        400, 'invalid_embedding', format('query_embedding has %s dimensions, the vectors of its model have %s.', dims, vector_set.dimensions),
        'Embed the query with the model that embedding_model names.'
      );
    end if;
    near := null;
    -- Exact costs about 0.4 us a row, the graph 0.6 ms and 0.33 ms times its size over what the filter leaves.
    if vector_set.graph_state = 'ready'
      and among is null
      and sources is null
      and shared_items > greatest(2000, sqrt(750.0 * vector_set.shared_count)) then
      near := private.nearest_in_graph(
        vector_set.graph_table, shared_segments, direction, case when vector_set.shared_count > 50000 then 200 else 120 end, leg_limit
      );
      -- It may have given up before the list was full.
      if coalesce(cardinality(near.item_ids), 0) < leg_limit then
        near := null;
      elsif own_segments <> '{}' then
        near := private.merge_legs(near, private.nearest_in_segments(own_segments, null, null, vector_set.id, direction, leg_limit), leg_limit);
      end if;
    end if;
    if near.item_ids is null then
      near := private.nearest_in_segments(shared_segments || own_segments, sources, among, vector_set.id, direction, leg_limit);
    end if;
    leg := private.merge_legs(leg, near, leg_limit);
  end loop;
  return leg;
end;
$$;

comment on function private.nearest_items(uuid[], int[], int[], bigint, uuid[], uuid[], text, extensions.vector, int) is
  'Vector leg: cosine similarity, by the set''s own graph where shared_items, the chunks of the segments that the whole tenant sees, are many; exact otherwise, for filters by source and for own segments. Compares vectors of embedding_model only. PT400 invalid_embedding for another length.';

create type private.query_terms as (
  terms text[],
  queries tsquery[],
  idf float8[],
  possible float8,
  rare_keys text,
  first_keys text,
  second_keys text
);

comment on type private.query_terms is
  'Words of a query, rarest first, as queries and with their inverse document frequencies; the idf of everything the query asks for; and the keys, as search_terms() takes them, of the rare words, of the first and of the second.';

create function private.weigh_terms(
  query text,
  segments int[],
  languages text[],
  segment_items bigint,
  term_limit int,
  budget int
)
returns private.query_terms
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  weighed private.query_terms;
begin
  select
    array_agg(ranked.term) filter (where ranked.is_used),
    array_agg(('''' || replace(replace(ranked.term, '\', '\\'), '''', '''''') || '''')::tsquery) filter (where ranked.is_used),
    array_agg(ranked.idf) filter (where ranked.is_used),
    -- A word that nobody has written counts half of one written once: without it, a query of which one common word is found
    -- would look answered, and silence the vectors.
    sum(case when ranked.is_used then ranked.idf when ranked.item_count is null then 0.5 * ln(1 + (segment_items + 0.5) / 0.5) end),
    '{' || string_agg(ranked.keys, ',') filter (where ranked.item_count > 0 and ranked.running <= budget) || '}',
    '{' || max(ranked.keys) filter (where ranked.item_count > 0 and ranked.position = 1) || '}',
    '{' || max(ranked.keys) filter (where ranked.item_count > 0 and ranked.position = 2) || '}'
  into weighed
  from (
    select
      counted.term,
      counted.keys,
      counted.item_count,
      counted.item_count > 0 and row_number() over by_rarity <= term_limit as is_used,
      row_number() over by_rarity as position,
      sum(counted.item_count) over by_rarity as running,
      -- Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), in the form that stays above zero.
      ln(1 + (segment_items - counted.item_count + 0.5) / (counted.item_count + 0.5)) as idf
    from (
      select asked.term, string_agg(asked.key::text, ',') as keys, sum(looked_up.item_count)::float8 as item_count
      from (
        -- The keys are made first: an expression in their place would not be leakproof, and no index condition under row-level security.
        select parsed.lexeme as term, segment.id as segment_id, hashtextextended(parsed.lexeme, segment.id) as key
        from (select distinct listed.language from unnest(languages) as listed (language)) as spoken
        cross join lateral unnest(private.lexemes_of(query, spoken.language)) as parsed
        join unnest(segments, languages) as segment (id, language) on segment.language = spoken.language
        offset 0
      ) as asked
      -- One look-up per key, whatever the planner thinks of the others.
      left join lateral (
        select term_statistics.item_count
        from private.term_statistics
        where term_statistics.segment_id = asked.segment_id and term_statistics.key = asked.key
        offset 0
      ) as looked_up on true
      group by asked.term
    ) as counted
    window by_rarity as (order by counted.item_count, counted.term)
  ) as ranked;
  return weighed;
end;
$$;

comment on function private.weigh_terms(text, int[], text[], bigint, int, int) is
  'The words of a query that stand in these segments, rarest first, at most term_limit, with their idf over exactly these segments; rare are those that together stand in at most `budget` items. Each segment is asked in its own language.';

create function private.term_query(term text)
returns tsquery
language plpgsql
immutable
set search_path = ''
as $$
begin
  return ('''' || replace(replace(term, '\', '\\'), '''', '''''') || '''')::tsquery;
end;
$$;

comment on function private.term_query(text) is 'A query for one lexeme, taken literally.';

create function private.search_keys(segments int[], mark text, terms text[])
returns bigint[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  if terms is null or terms = '{}' then
    return null;
  end if;
  return array(
    select hashtextextended(mark || term.term, segment.id)
    from unnest(segments) as segment (id)
    cross join unnest(terms) as term (term)
  );
end;
$$;

comment on function private.search_keys(int[], text, text[]) is 'Keys of these terms in these segments; null for no term.';

-- BM25 written out for a number of words: a loop per row would cost several times as much, and an expression for sixteen
-- words costs a small search more than all its rows do.
do $generate$
declare
  width int;
begin
  foreach width in array array[6, 16] loop
    execute format(
      $template$
create function private.rank_by_%1$s_words(
  sources uuid[],
  required tsquery,
  excluded tsquery,
  queries tsquery[],
  idf float8[],
  k1 float8,
  b float8,
  average_length float8,
  candidate_limit int,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  ones constant float4[] := '{1,1,1,1}';
  leg private.search_leg;
begin
  select array_agg(best.item_id), array_agg(best.score)
  into leg
  from (
    select counted.item_id, (k1 + 1) * (%3$s) as score
    from (
      select
        found.item_id,
        k1 * (1 - b + b * found.term_count / average_length) as norm,
        -- With all weights 1, ts_rank of one word is 6 / pi^2 times the sum of 1/i^2 for i = 1..tf: undone here.
        %2$s
      from (
        select matched.item_id, matched.term_count, matched.lexemes
        from private.search_lexemes as matched
        where (sources is null or matched.source_id = any (sources))
          and (required is null or matched.lexemes operator(pg_catalog.@@) required)
          and (excluded is null or not matched.lexemes operator(pg_catalog.@@) excluded)
        limit candidate_limit
      ) as found
      offset 0
    ) as counted
    order by score desc, counted.item_id
    limit leg_limit
  ) as best
  where best.score > 0;
  return leg;
end;
$$;
      $template$,
      width,
      (
        select string_agg(
          format('round(0.6079271 / (1 - ts_rank(ones, found.lexemes, queries[%1$s])::float8) - 0.5) as tf%1$s', n), E',\n        ' order by n
        )
        from generate_series(1, width) as n
      ),
      (select string_agg(format('coalesce(idf[%1$s] * tf%1$s / (tf%1$s + norm), 0)', n), ' + ' order by n) from generate_series(1, width) as n)
    );
    execute format(
      'comment on function private.rank_by_%1$s_words(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int, int) is %2$L',
      width, format('BM25 by at most %s words of the items that search_terms() asks for.', width)
    );
    execute format(
      'revoke execute on function private.rank_by_%1$s_words(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int, int) from public', width
    );
    execute format(
      'grant execute on function private.rank_by_%1$s_words(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int, int) to authenticated', width
    );
  end loop;
end;
$generate$;

create function private.matching_items(
  weighed private.query_terms,
  anchor text[],
  segments int[],
  segment_items bigint,
  segment_terms bigint,
  sources uuid[],
  required tsquery,
  excluded tsquery,
  k1 float8,
  b float8,
  candidate_limit int,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
as $$
declare
  average_length constant float8 := greatest(segment_terms::float8 / greatest(segment_items, 1), 1);
  candidate_keys text := coalesce(weighed.rare_keys, weighed.first_keys);
  and_keys text;
begin
  -- Only common words: the two rarest together. With a phrase, every hit holds all its words: the rarest finds them.
  if weighed.rare_keys is null then
    and_keys := weighed.second_keys;
  end if;
  if anchor is not null then
    candidate_keys := private.search_keys(
      segments, '',
      coalesce(
        (select array[words.term] from unnest(weighed.terms) with ordinality as words (term, position) where words.term = any (anchor) order by words.position limit 1),
        anchor[1:1]
      )
    )::text;
    and_keys := null;
  end if;
  if sources is not null then
    and_keys := private.search_keys(segments, '@', sources::text[])::text;
  end if;
  perform
    set_config('bulkhead.search_terms_1', coalesce(candidate_keys, ''), true),
    set_config('bulkhead.search_terms_2', coalesce(and_keys, candidate_keys, ''), true);
  if cardinality(weighed.terms) <= 6 then
    return private.rank_by_6_words(
      sources, required, excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
    );
  end if;
  return private.rank_by_16_words(
    sources, required, excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
  );
end;
$$;

comment on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, float8, float8, int, int) is
  'Text leg: BM25 by all the words of at most candidate_limit items that hold one of the rarest (or, if none is rare, the first two together; with a phrase, its rarest word).';

create function private.find_items(
  keys bigint[],
  segments int[],
  sources uuid[],
  required tsquery,
  excluded tsquery,
  item_limit int
)
returns uuid[]
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  perform set_config('bulkhead.search_terms_1', keys::text, true);
  perform set_config('bulkhead.search_terms_2', coalesce(private.search_keys(segments, '@', sources::text[]), keys)::text, true);
  return array(
    select matched.item_id
    from private.search_lexemes as matched
    where (sources is null or matched.source_id = any (sources))
      and (required is null or matched.lexemes operator(pg_catalog.@@) required)
      and (excluded is null or not matched.lexemes operator(pg_catalog.@@) excluded)
    limit item_limit
  );
end;
$$;

comment on function private.find_items(bigint[], int[], uuid[], tsquery, tsquery, int) is
  'At most item_limit items that have one of the keys, hold what is required and nothing that is excluded.';

create function private.identified_items(
  identifiers text[],
  segments int[],
  sources uuid[],
  required tsquery,
  excluded tsquery,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
as $$
declare
  found uuid[] := private.find_items(private.search_keys(segments, '#', identifiers), segments, sources, required, excluded, leg_limit);
  certainty float8 := 1;
begin
  if found = '{}' then
    -- Nobody has written it like that: one character more, less or other, or two exchanged.
    certainty := 0.5;
    found := private.find_items(
      private.search_keys(segments, '~', identifiers)
        || private.search_keys(segments, '~', array(select private.shortened(listed.code) from unnest(identifiers) as listed (code)))
        || private.search_keys(segments, '#', array(select private.shortened(listed.code) from unnest(identifiers) as listed (code))),
      segments, sources, required, excluded, leg_limit
    );
  end if;
  return (found, array_fill(certainty, array[cardinality(found)]));
end;
$$;

comment on function private.identified_items(text[], int[], uuid[], tsquery, tsquery, int) is
  'Identifier leg: items that hold one of the identifiers (score 1); if there is none, those with one at most an edit away (score 0.5).';

create function private.without_items(leg private.search_leg, item_ids uuid[])
returns private.search_leg
language sql
immutable
set search_path = ''
as $$
  select
    coalesce(array_agg(listed.item_id order by listed.position), '{}'),
    coalesce(array_agg(listed.score order by listed.position), '{}')
  from unnest(leg.item_ids, leg.scores) with ordinality as listed (item_id, score, position)
  where listed.item_id <> all (without_items.item_ids);
$$;

comment on function private.without_items(private.search_leg, uuid[]) is 'The leg without these items, its order kept.';

revoke execute on function private.without_items(private.search_leg, uuid[]) from public;
revoke execute on function private.term_query(text) from public;
revoke execute on function private.search_keys(int[], text, text[]) from public;
revoke execute on function private.nearest_in_graph(text, int[], extensions.halfvec, int, int) from public;
revoke execute on function private.nearest_in_segments(int[], uuid[], uuid[], int, extensions.halfvec, int) from public;
revoke execute on function private.merge_legs(private.search_leg, private.search_leg, int) from public;
revoke execute on function private.nearest_items(uuid[], int[], int[], bigint, uuid[], uuid[], text, extensions.vector, int) from public;
revoke execute on function private.weigh_terms(text, int[], text[], bigint, int, int) from public;
revoke execute on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, float8, float8, int, int) from public;
revoke execute on function private.find_items(bigint[], int[], uuid[], tsquery, tsquery, int) from public;
revoke execute on function private.identified_items(text[], int[], uuid[], tsquery, tsquery, int) from public;
grant execute on function private.without_items(private.search_leg, uuid[]) to authenticated;
grant execute on function private.term_query(text) to authenticated;
grant execute on function private.search_keys(int[], text, text[]) to authenticated;
grant execute on function private.nearest_in_graph(text, int[], extensions.halfvec, int, int) to authenticated;
grant execute on function private.nearest_in_segments(int[], uuid[], uuid[], int, extensions.halfvec, int) to authenticated;
grant execute on function private.merge_legs(private.search_leg, private.search_leg, int) to authenticated;
grant execute on function private.nearest_items(uuid[], int[], int[], bigint, uuid[], uuid[], text, extensions.vector, int) to authenticated;
grant execute on function private.weigh_terms(text, int[], text[], bigint, int, int) to authenticated;
grant execute on function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, float8, float8, int, int) to authenticated;
grant execute on function private.find_items(bigint[], int[], uuid[], tsquery, tsquery, int) to authenticated;
grant execute on function private.identified_items(text[], int[], uuid[], tsquery, tsquery, int) to authenticated;
