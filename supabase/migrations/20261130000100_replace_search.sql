-- As before, but
--   * a "phrase" and a -word hold for vectors as for words, however many items have them, and for every method;
--   * a phrase is found in knowledge bases of several languages;
--   * max_per_source and deduplicate look further where one document fills the legs;
--   * under an application's own policies, phrases, exclusions and identifiers hold as well;
--   * identifiers and sources cost in proportion to their number;
--   * where all words of a question are very common, BM25 ranks what the vectors found.
drop function private.matching_items(private.query_terms, text[], int[], bigint, bigint, uuid[], tsquery, tsquery, float8, float8, int, int);
drop function private.identified_items(text[], int[], uuid[], tsquery, tsquery, int);
drop function private.find_items(bigint[], int[], uuid[], tsquery, tsquery, int);
drop function private.without_items(private.search_leg, uuid[]);
drop function private.search_among_visible_chunks(uuid[], uuid[], extensions.vector, text, text, tsquery, tsquery, int[], text[], float8, float8, int);

create or replace function private.parse_query(query text, languages text[])
returns private.parsed_query
language plpgsql
stable
set search_path = ''
as $$
declare
  parsed private.parsed_query;
  phrase text;
  spoken text;
  spoken_languages text[];
  in_one tsquery;
  in_any tsquery;
begin
  parsed.words := query;
  if strpos(query, '"') > 0 or query ~ '(^|\s)-\w' then
    spoken_languages := array(select distinct listed.language from unnest(languages) as listed (language));
    -- -"a phrase" and -word, where a letter follows: -5 is a number.
    for phrase in
      select coalesce(match[2], match[3])
      from regexp_matches(query, '(^|\s)-(?:"([^"]+)"|([[:alpha:]][^\s"]*))', 'g') as match
      limit 16
    loop
      foreach spoken in array spoken_languages loop
        in_one := phraseto_tsquery(('pg_catalog.' || spoken)::regconfig, private.words_of(phrase));
        if numnode(in_one) > 0 then
          parsed.excluded := coalesce(parsed.excluded || in_one, in_one);
          -- Whatever holds the phrase holds this one of its words.
          parsed.unwanted := parsed.unwanted || (tsvector_to_array(private.lexemes_of(phrase, spoken)))[:1];
        end if;
      end loop;
    end loop;
    parsed.words := regexp_replace(parsed.words, '(^|\s)-(?:"[^"]+"|[[:alpha:]][^\s"]*)', ' ', 'g');
    for phrase in
      select match[1] from regexp_matches(parsed.words, '"([^"]+)"', 'g') as match limit 16
    loop
      in_any := null;
      foreach spoken in array spoken_languages loop
        in_one := phraseto_tsquery(('pg_catalog.' || spoken)::regconfig, private.words_of(phrase));
        if numnode(in_one) > 0 then
          in_any := coalesce(in_any || in_one, in_one);
          -- Words of the first phrase alone, of which the rarest finds it. Several languages make different words of it, and the
          -- longest of each, which is seldom common, finds it there.
          if parsed.required is null then
            parsed.anchor := parsed.anchor || (
              array(
                select words.lexeme
                from unnest(private.lexemes_of(phrase, spoken)) as words
                order by char_length(words.lexeme) desc, words.lexeme
              )
            )[:case when cardinality(spoken_languages) = 1 then 16 else 1 end];
          end if;
        end if;
      end loop;
      if in_any is not null then
        parsed.required := coalesce(parsed.required && in_any, in_any);
      end if;
    end loop;
  end if;
  parsed.identifiers := case when parsed.words ~ '[0-9]' then (private.identifiers_of(parsed.words))[:16] else '{}' end;
  return parsed;
end;
$$;

create function private.find_items(
  keys bigint[],
  segments int[],
  sources uuid[],
  among uuid[],
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
declare
  -- A GIN scan compares each of its keys with every other one, so that it gets so many at a time. Where sources make more, the
  -- column of the row is asked for its source.
  slice_size constant int := 500;
  source_keys constant bigint[] := case
    when cardinality(sources)::bigint * cardinality(segments) <= slice_size then private.search_keys(segments, '@', sources::text[])
  end;
  slice bigint[];
  found uuid[] := '{}';
begin
  for place in 1..coalesce(cardinality(keys), 0) by slice_size loop
    slice := keys[place:place + slice_size - 1];
    perform
      set_config('bulkhead.search_terms_1', slice::text, true),
      set_config('bulkhead.search_terms_2', coalesce(source_keys, slice)::text, true);
    found := found || array(
      select matched.item_id
      from private.search_lexemes as matched
      where (sources is null or matched.source_id = any (sources))
        and (among is null or matched.item_id = any (among))
        and matched.item_id <> all (found)
        and (required is null or matched.lexemes operator(pg_catalog.@@) required)
        and (excluded is null or not matched.lexemes operator(pg_catalog.@@) excluded)
      limit item_limit - cardinality(found)
    );
    exit when cardinality(found) >= item_limit;
  end loop;
  return found;
end;
$$;

comment on function private.find_items(bigint[], int[], uuid[], uuid[], tsquery, tsquery, int) is
  'At most item_limit items (of `among`, if that is not null) that have one of the keys, hold what is required and nothing that is excluded.';

revoke execute on function private.find_items(bigint[], int[], uuid[], uuid[], tsquery, tsquery, int) from public;
grant execute on function private.find_items(bigint[], int[], uuid[], uuid[], tsquery, tsquery, int) to authenticated;

create function private.identified_items(parsed private.parsed_query, segments int[], sources uuid[], among uuid[], leg_limit int)
returns private.search_leg
language plpgsql
stable
set search_path = ''
as $$
declare
  found uuid[] := private.find_items(
    private.search_keys(segments, '#', parsed.identifiers), segments, sources, among, parsed.required, parsed.excluded, leg_limit
  );
  certainty float8 := 1;
  -- Of up to 32 characters each, so that all their spellings in all segments are no more than a hundred thousand keys.
  near constant text[] := parsed.identifiers[:greatest(100000 / (65 * cardinality(segments)), 1)];
begin
  if found = '{}' then
    -- Nobody has written it like that: one character more, less or other, or two exchanged.
    certainty := 0.5;
    found := private.find_items(
      private.search_keys(segments, '~', near)
        || private.search_keys(segments, '~', array(select private.shortened(listed.code) from unnest(near) as listed (code)))
        || private.search_keys(segments, '#', array(select private.shortened(listed.code) from unnest(near) as listed (code))),
      segments, sources, among, parsed.required, parsed.excluded, leg_limit
    );
  end if;
  return (found, array_fill(certainty, array[cardinality(found)]));
end;
$$;

comment on function private.identified_items(private.parsed_query, int[], uuid[], uuid[], int) is
  'Identifier leg: items (of `among`, if that is not null) that hold one of the identifiers (score 1); if there is none, those with one at most an edit away (score 0.5).';

revoke execute on function private.identified_items(private.parsed_query, int[], uuid[], uuid[], int) from public;
grant execute on function private.identified_items(private.parsed_query, int[], uuid[], uuid[], int) to authenticated;

create function private.rank_near_items(
  item_ids uuid[],
  required tsquery,
  excluded tsquery,
  queries tsquery[],
  idf float8[],
  k1 float8,
  b float8,
  average_length float8,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off -- by the ids: the keys of the policy are those of common words
set plan_cache_mode = force_generic_plan
as $$
declare
  ones constant float4[] := '{1,1,1,1}';
  leg private.search_leg;
begin
  select array_agg(best.item_id), array_agg(best.score)
  into leg
  from (
    select matched.item_id, (k1 + 1) * summed.score as score
    from private.search_lexemes as matched
    cross join lateral (
      select sum(counted.idf * counted.frequency / (counted.frequency + k1 * (1 - b + b * matched.term_count / average_length))) as score
      from (
        -- As in private.rank_by_6_words().
        select asked.idf, round(0.6079271 / (1 - ts_rank(ones, matched.lexemes, asked.query)::float8) - 0.5) as frequency
        from unnest(queries, rank_near_items.idf) as asked (query, idf)
        offset 0
      ) as counted
    ) as summed
    where matched.item_id = any (rank_near_items.item_ids)
      and (required is null or matched.lexemes operator(pg_catalog.@@) required)
      and (excluded is null or not matched.lexemes operator(pg_catalog.@@) excluded)
    order by score desc, matched.item_id
    limit leg_limit
  ) as best
  where best.score > 0;
  return leg;
end;
$$;

comment on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) is
  'BM25 of these items, of which search_terms() asks for some: those alone are ranked.';

revoke execute on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) from public;
grant execute on function private.rank_near_items(uuid[], tsquery, tsquery, tsquery[], float8[], float8, float8, float8, int) to authenticated;

create function private.matching_items(
  weighed private.query_terms,
  parsed private.parsed_query,
  scope private.search_scope,
  sources uuid[],
  near_items uuid[],
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
  average_length constant float8 := greatest(scope.terms::float8 / greatest(scope.items, 1), 1);
  candidate_keys text := coalesce(weighed.rare_keys, weighed.first_keys);
  and_keys text;
begin
  -- Only common words: the two rarest together. With a phrase, every hit holds all its words: the rarest finds them.
  if weighed.rare_keys is null then
    and_keys := weighed.second_keys;
  end if;
  -- Even the rarest stands in very many more items than are ranked. To find them all is most of the work of such a search, and
  -- which of them are ranked is chance: what the vectors found is a better choice.
  if weighed.rare_keys is null
    and parsed.anchor is null
    and sources is null
    and near_items is not null
    and scope.items / exp(weighed.idf[1]) > 25 * candidate_limit then
    perform
      set_config('bulkhead.search_terms_1', candidate_keys, true),
      set_config('bulkhead.search_terms_2', coalesce(and_keys, candidate_keys), true);
    return private.rank_near_items(
      near_items, parsed.required, parsed.excluded, weighed.queries, weighed.idf, k1, b, average_length, leg_limit
    );
  end if;
  if parsed.anchor is not null then
    candidate_keys := private.search_keys(
      scope.segments, '',
      case
        -- Another language makes other words of the phrase: there each of them finds.
        when scope.languages[1] <> any (scope.languages) then parsed.anchor
        else coalesce(
          (select array[words.term] from unnest(weighed.terms) with ordinality as words (term, position) where words.term = any (parsed.anchor) order by words.position limit 1),
          parsed.anchor[1:1]
        )
      end
    )::text;
    and_keys := null;
  end if;
  -- As in private.find_items().
  if cardinality(sources)::bigint * cardinality(scope.segments) <= 500 then
    and_keys := private.search_keys(scope.segments, '@', sources::text[])::text;
  end if;
  perform
    set_config('bulkhead.search_terms_1', coalesce(candidate_keys, ''), true),
    set_config('bulkhead.search_terms_2', coalesce(and_keys, candidate_keys, ''), true);
  if cardinality(weighed.terms) <= 6 then
    return private.rank_by_6_words(
      sources, parsed.required, parsed.excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
    );
  end if;
  return private.rank_by_16_words(
    sources, parsed.required, parsed.excluded, weighed.queries, weighed.idf, k1, b, average_length, candidate_limit, leg_limit
  );
end;
$$;

comment on function private.matching_items(private.query_terms, private.parsed_query, private.search_scope, uuid[], uuid[], float8, float8, int, int) is
  'Text leg: BM25 by all the words of at most candidate_limit items that hold one of the rarest (or, if none is rare, the first two together; with a phrase, its rarest word). Where the first stands in more than 25 times candidate_limit items: of near_items, if they are given, those that hold the first two.';

revoke execute on function private.matching_items(private.query_terms, private.parsed_query, private.search_scope, uuid[], uuid[], float8, float8, int, int) from public;
grant execute on function private.matching_items(private.query_terms, private.parsed_query, private.search_scope, uuid[], uuid[], float8, float8, int, int) to authenticated;

create function private.wanted_items(near private.search_leg, keys text, parsed private.parsed_query, leg_limit int)
returns private.search_leg
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off -- by the ids, as in private.rank_near_items()
set plan_cache_mode = force_generic_plan
as $$
declare
  leg private.search_leg;
begin
  perform set_config('bulkhead.search_terms_1', keys, true), set_config('bulkhead.search_terms_2', keys, true);
  select array_agg(kept.item_id order by kept.place), array_agg(kept.score order by kept.place)
  into leg
  from (
    select found.item_id, found.score, found.place
    from unnest(near.item_ids, near.scores) with ordinality as found (item_id, score, place)
    where case
      when parsed.required is null then not exists (
        select from private.search_lexemes as matched
        where matched.item_id = found.item_id and matched.lexemes operator(pg_catalog.@@) parsed.excluded
      )
      else exists (
        select from private.search_lexemes as matched
        where matched.item_id = found.item_id
          and matched.lexemes operator(pg_catalog.@@) parsed.required
          and (parsed.excluded is null or not matched.lexemes operator(pg_catalog.@@) parsed.excluded)
      )
    end
    order by found.place
    limit leg_limit
  ) as kept;
  return leg;
end;
$$;

comment on function private.wanted_items(private.search_leg, text, private.parsed_query, int) is
  'The first leg_limit items of a leg that hold what the query requires and nothing that it excludes. Whatever does has one of the keys, or whatever it excludes.';

revoke execute on function private.wanted_items(private.search_leg, text, private.parsed_query, int) from public;
grant execute on function private.wanted_items(private.search_leg, text, private.parsed_query, int) to authenticated;

create function private.nearest_wanted_items(
  scope private.search_scope,
  sources uuid[],
  parsed private.parsed_query,
  query_embedding extensions.vector,
  listed_limit int,
  leg_limit int
)
returns private.search_leg
language plpgsql
stable
set search_path = ''
as $$
declare
  holding uuid[];
  keys constant text := private.search_keys(scope.segments, '', coalesce(parsed.anchor, parsed.unwanted))::text;
  asked int := leg_limit;
  near private.search_leg;
  leg private.search_leg;
begin
  if parsed.required is not null then
    holding := private.find_items(
      private.search_keys(scope.segments, '', parsed.anchor), scope.segments, sources, null, parsed.required, parsed.excluded, listed_limit
    );
    if cardinality(holding) < listed_limit then
      return private.nearest_items(scope, sources, holding, query_embedding, leg_limit);
    end if;
  end if;
  -- What is not wanted is left out of the nearest, and more of them are asked for until enough are left.
  loop
    near := private.nearest_items(scope, sources, null, query_embedding, asked);
    leg := private.wanted_items(near, keys, parsed, leg_limit);
    exit when coalesce(cardinality(near.item_ids), 0) < asked or cardinality(leg.item_ids) >= leg_limit or asked >= 50000;
    asked := asked * 4;
  end loop;
  return leg;
end;
$$;

comment on function private.nearest_wanted_items(private.search_scope, uuid[], private.parsed_query, extensions.vector, int, int) is
  'Vector leg: the nearest items that hold what the query requires and nothing that it excludes, among some 50,000 that are nearest. Fewer than listed_limit that hold it are compared alone; more are met on the way from near to far.';

revoke execute on function private.nearest_wanted_items(private.search_scope, uuid[], private.parsed_query, extensions.vector, int, int) from public;
grant execute on function private.nearest_wanted_items(private.search_scope, uuid[], private.parsed_query, extensions.vector, int, int) to authenticated;

create function private.search_among_visible_chunks(
  scope private.search_scope,
  knowledge_base_ids uuid[],
  sources uuid[],
  parsed private.parsed_query,
  query_embedding extensions.vector,
  k1 float8,
  b float8,
  leg_limit int,
  out vector_leg private.search_leg,
  out text_leg private.search_leg,
  out identifier_leg private.search_leg,
  out possible float8
)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
declare
  visible constant uuid[] := array(
    select chunks.id
    from ai.chunks
    where (search_among_visible_chunks.knowledge_base_ids is null or chunks.knowledge_base_id = any (search_among_visible_chunks.knowledge_base_ids))
      and (sources is null or chunks.source_id = any (sources))
  );
  terms constant text[] := array(
    select distinct entry.lexeme
    from unnest(scope.languages) as spoken (language)
    cross join lateral unnest(private.lexemes_of(parsed.words, spoken.language)) as entry
  );
  wanted uuid[] := visible;
  keys text;
begin
  if terms <> '{}' then
    perform set_config('bulkhead.search_terms_1', private.search_keys(scope.segments, '', terms)::text, true);
    perform set_config('bulkhead.search_terms_2', current_setting('bulkhead.search_terms_1'), true);
    with matched as materialized (
      select items.item_id, items.term_count, items.lexemes
      from unnest(visible) as seen (id)
      join private.search_lexemes as items on items.item_id = seen.id
      where (parsed.required is null or items.lexemes operator(pg_catalog.@@) parsed.required)
        and (parsed.excluded is null or not items.lexemes operator(pg_catalog.@@) parsed.excluded)
    ),
    hits as materialized (
      select matched.item_id, matched.term_count, entry.lexeme, cardinality(entry.positions)::float8 as frequency
      from matched
      cross join lateral unnest(matched.lexemes) as entry
      where entry.lexeme = any (terms)
    ),
    weights as (
      select hits.lexeme, ln(1 + (cardinality(visible) - count(*) + 0.5) / (count(*) + 0.5)) as idf
      from hits
      group by hits.lexeme
    ),
    -- Items without any of the words are not read, so the average length is that of the others.
    lengths as (
      select greatest(avg(matched.term_count), 1)::float8 as average from matched
    ),
    best as (
      select
        hits.item_id,
        sum(weights.idf * hits.frequency * (k1 + 1) / (hits.frequency + k1 * (1 - b + b * hits.term_count / lengths.average))) as score
      from hits
      join weights on weights.lexeme = hits.lexeme
      cross join lengths
      group by hits.item_id
      order by score desc, hits.item_id
      limit leg_limit
    )
    select
      array_agg(best.item_id order by best.score desc, best.item_id),
      array_agg(best.score order by best.score desc, best.item_id),
      -- As in private.weigh_terms().
      (
        select sum(weights.idf) + (cardinality(terms) - count(*)) * 0.5 * ln(1 + (cardinality(visible) + 0.5) / 0.5)
        from weights
      )
    into text_leg.item_ids, text_leg.scores, possible
    from best;
  end if;
  if parsed.identifiers <> '{}' then
    identifier_leg := private.identified_items(parsed, scope.segments, sources, visible, leg_limit);
  end if;
  if query_embedding is not null then
    if parsed.required is not null or parsed.excluded is not null then
      keys := private.search_keys(scope.segments, '', coalesce(parsed.anchor, parsed.unwanted))::text;
      perform set_config('bulkhead.search_terms_1', keys, true), set_config('bulkhead.search_terms_2', keys, true);
      wanted := array(
        select seen.id
        from unnest(visible) as seen (id)
        left join private.search_lexemes as items on items.item_id = seen.id
        where (parsed.required is null or items.lexemes operator(pg_catalog.@@) parsed.required)
          and (parsed.excluded is null or (items.lexemes operator(pg_catalog.@@) parsed.excluded) is not true)
      );
    end if;
    vector_leg := private.nearest_items(scope, sources, wanted, query_embedding, leg_limit);
  end if;
end;
$$;

comment on function private.search_among_visible_chunks(private.search_scope, uuid[], uuid[], private.parsed_query, extensions.vector, float8, float8, int) is
  'The legs of ai.search over exactly the chunks that the policies of ai.chunks show, whatever they are. Takes time in proportion to their number.';

revoke execute on function private.search_among_visible_chunks(private.search_scope, uuid[], uuid[], private.parsed_query, extensions.vector, float8, float8, int) from public;
grant execute on function private.search_among_visible_chunks(private.search_scope, uuid[], uuid[], private.parsed_query, extensions.vector, float8, float8, int) to authenticated;

create or replace function ai.search(
  query text,
  query_embedding extensions.vector default null,
  embedding_model text default null,
  knowledge_base_ids uuid[] default null,
  match_count int default 10,
  source_ids uuid[] default null,
  filter_metadata jsonb default null,
  method text default 'hybrid',
  vector_weight real default null,
  similarity_threshold real default 0,
  fusion text default 'rrf',
  max_per_source int default null,
  deduplicate boolean default false,
  bm25_k1 real default 1.2,
  bm25_b real default 0.75,
  explain boolean default false
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
  meta jsonb,
  explanation jsonb
)
language plpgsql
stable
security invoker
set search_path = ''
set enable_seqscan = off
set jit = off -- the plans that the settings leave have costs that would start the compiler
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  row_limit constant int := least(greatest(coalesce(match_count, 10), 1), 100);
  is_capped constant boolean := max_per_source is not null or coalesce(deduplicate, false);
  -- How many of each leg are fused: enough that a row low in one leg can still win by the other, or replace one that is cut.
  leg_limit int := case when is_capped then 200 else greatest(row_limit, 60) end;
  weight constant float8 := least(greatest(coalesce(nullif(vector_weight, 'NaN'), case when search.fusion = 'weighted' then 0.7 else 0.5 end), 0), 1);
  threshold constant float8 := coalesce(nullif(similarity_threshold, 'NaN'), 0);
  uses_vectors constant boolean := query_embedding is not null and search.method in ('hybrid', 'vector_search');
  uses_text constant boolean := search.method in ('hybrid', 'full_text');
  k1 constant float8 := least(greatest(coalesce(nullif(bm25_k1, 'NaN'), 1.2), 0.01), 10);
  candidate_budget constant int := 400;
  b constant float8 := least(greatest(coalesce(nullif(bm25_b, 'NaN'), 0.75), 0), 1);
  scope private.search_scope;
  sources uuid[];
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
  is_shipped boolean;
  exact record;
  is_full boolean;
  near_enough int;
  asked_terms text[];
  fusing private.fusion;
  fused private.search_leg;
  -- What each leg adds to the scores, for explanations.
  vector_votes private.search_leg;
  text_votes private.search_leg;
  identifier_votes private.search_leg;
begin
  perform private.check_search(search.query, query_embedding, search.embedding_model, search.method, search.fusion);
  if search.filter_metadata is not null and jsonb_typeof(search.filter_metadata) <> 'object' then
    perform private.raise_error(400, 'invalid_request', 'filter_metadata must be a JSON object.', null);
  end if;
  if max_per_source < 1 then
    perform private.raise_error(400, 'invalid_request', 'max_per_source must be at least 1.', null);
  end if;

  -- Everything below is counted over these segments: what the caller may see of what is asked for.
  scope := private.caller_search_scope(
    'chunk', search.knowledge_base_ids, null, null, case when uses_vectors then search.embedding_model end
  );
  if scope.segments is null then
    return;
  end if;
  if search.source_ids is not null or search.filter_metadata is not null then
    sources := array(
      select sources.id
      from ai.sources
      where (search.source_ids is null or sources.id = any (search.source_ids))
        and (search.filter_metadata is null or sources.metadata @> search.filter_metadata)
    );
    if sources = '{}' then
      return;
    end if;
  end if;
  parsed := private.parse_query(search.query, scope.languages);
  is_shipped := private.chunk_policies_are_shipped();

  loop
    if not is_shipped then
      select * into exact
      from private.search_among_visible_chunks(
        scope, search.knowledge_base_ids, sources, parsed, case when uses_vectors then query_embedding end, k1, b, leg_limit
      );
      vector_leg := exact.vector_leg;
      if uses_text then
        text_leg := exact.text_leg;
        identifier_leg := exact.identifier_leg;
        fusing.words_asked := exact.possible;
      end if;
    else
      if uses_vectors then
        if parsed.required is null and parsed.excluded is null then
          vector_leg := private.nearest_items(scope, sources, null, query_embedding, leg_limit);
        else
          vector_leg := private.nearest_wanted_items(scope, sources, parsed, query_embedding, 10000, leg_limit);
        end if;
      end if;
      if uses_text then
        -- A budget of rows, taken from the rarest words up, bounds the work of this leg.
        weighed := private.weigh_terms(parsed.words, scope.segments, scope.languages, scope.items, 16, candidate_budget);
        if weighed.terms is not null then
          text_leg := private.matching_items(
            weighed, parsed, scope, sources, case when weight > 0 then vector_leg.item_ids end, k1, b,
            greatest(2 * candidate_budget, leg_limit), leg_limit
          );
        end if;
        fusing.words_asked := weighed.possible;
        if parsed.identifiers <> '{}' then
          identifier_leg := private.identified_items(parsed, scope.segments, sources, null, leg_limit);
        end if;
      end if;
    end if;
    is_full := leg_limit <= any (
      array[cardinality(vector_leg.item_ids), cardinality(text_leg.item_ids), cardinality(identifier_leg.item_ids)]
    );

    if threshold > 0 and search.method = 'vector_search' then
      near_enough := (select count(*) from unnest(vector_leg.scores) as found (score) where found.score >= threshold);
      is_full := is_full and near_enough = cardinality(vector_leg.item_ids);
      vector_leg := (vector_leg.item_ids[:near_enough], vector_leg.scores[:near_enough]);
    end if;
    fusing.method := case when search.method = 'hybrid' then search.fusion else 'none' end;
    fusing.vector_weight := weight;
    fusing.identifiers_asked := case when uses_text then coalesce(cardinality(parsed.identifiers), 0) else 0 end;
    fusing.segment_items := scope.items;
    fusing.k1 := k1;
    fused := private.fuse_legs(vector_leg, text_leg, identifier_leg, fusing, case when is_capped then null else row_limit end);
    exit when not is_capped;
    select array_agg(kept.item_id order by kept.place), array_agg(kept.score order by kept.place)
    into fused
    from (
      select numbered.item_id, numbered.score, numbered.place
      from (
        select
          unique_texts.item_id, unique_texts.score, unique_texts.place,
          row_number() over (partition by unique_texts.source_id order by unique_texts.score desc, unique_texts.item_id) as number_in_source
        from (
          select
            hit.item_id, hit.score, hit.place, chunks.source_id,
            row_number() over (
              partition by case when deduplicate then md5(chunks.text) else hit.item_id::text end order by hit.score desc, hit.item_id
            ) as copy
          from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
          join ai.chunks on chunks.id = hit.item_id
        ) as unique_texts
        where unique_texts.copy = 1
      ) as numbered
      where max_per_source is null or numbered.number_in_source <= max_per_source
      order by numbered.score desc, numbered.item_id
      limit row_limit
    ) as kept;
    -- One long document may fill the legs: then there is more to look at.
    exit when cardinality(fused.item_ids) >= row_limit or not coalesce(is_full, false) or leg_limit >= 12800;
    leg_limit := leg_limit * 4;
  end loop;
  if explain then
    vector_votes := private.fuse_legs(vector_leg, null, null, fusing, null);
    text_votes := private.fuse_legs(null, text_leg, null, fusing, null);
    identifier_votes := private.fuse_legs(null, null, identifier_leg, fusing, null);
  end if;
  if explain and uses_text then
    asked_terms := coalesce(weighed.terms, array(
      select distinct entry.lexeme
      from unnest(scope.languages) as spoken (language)
      cross join lateral unnest(private.lexemes_of(parsed.words, spoken.language)) as entry
    ));
    perform set_config('bulkhead.search_terms_1', coalesce(private.search_keys(scope.segments, '', asked_terms)::text, ''), true);
    perform set_config('bulkhead.search_terms_2', current_setting('bulkhead.search_terms_1'), true);
  end if;

  -- Rows come from the tables under row-level security, which has the last word.
  return query
  select
    chunks.id,
    chunks.source_id,
    sources.name,
    chunks.knowledge_base_id,
    chunks.indexed_source_id,
    chunks.text,
    case when search.method = 'vector_search' then hit.score else coalesce(hit.score / nullif(max(hit.score) over (), 0), 0) end,
    vector_leg.scores[found.vector_rank],
    text_leg.scores[found.text_rank],
    chunks.chunk_index,
    chunks.start_char,
    chunks.end_char,
    chunks.meta,
    case
      when explain then jsonb_build_object(
        'fusion', nullif(fusing.method, 'none'),
        'vector', case
          when found.vector_rank is not null then jsonb_build_object(
            'rank', found.vector_rank, 'score', vector_leg.scores[found.vector_rank],
            'contribution', vector_votes.scores[array_position(vector_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'model', search.embedding_model
          )
        end,
        'text', case
          when found.text_rank is not null then jsonb_build_object(
            'rank', found.text_rank, 'score', text_leg.scores[found.text_rank],
            'contribution', text_votes.scores[array_position(text_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'terms', (private.explain_hit(chunks.id, chunks.text, asked_terms, '{}')).matched_terms
          )
        end,
        'identifier', case
          when hit.item_id = any (identifier_leg.item_ids) then jsonb_build_object(
            'exact', identifier_leg.scores[array_position(identifier_leg.item_ids, hit.item_id)] = 1,
            'contribution', identifier_votes.scores[array_position(identifier_votes.item_ids, hit.item_id)] / nullif(hit.score, 0),
            'matched', (private.explain_hit(chunks.id, chunks.text, '{}', parsed.identifiers)).matched_identifiers
          )
        end
      )
    end
  from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
  cross join lateral (
    select array_position(vector_leg.item_ids, hit.item_id) as vector_rank, array_position(text_leg.item_ids, hit.item_id) as text_rank
  ) as found
  join ai.chunks on chunks.id = hit.item_id
  left join ai.sources on sources.id = chunks.source_id
  order by hit.place;
end;
$$;

create or replace function ai.search_memories(
  query text,
  query_embedding extensions.vector default null,
  embedding_model text default null,
  agent_id uuid default null,
  match_count int default 10,
  user_id uuid default null,
  method text default 'hybrid',
  vector_weight real default null,
  fusion text default 'rrf'
)
returns setof ai.found_memory
language plpgsql
stable
security invoker
set search_path = ''
set enable_seqscan = off
set jit = off -- as in ai.search
set plan_cache_mode = force_generic_plan
as $$
declare
  row_limit constant int := least(greatest(coalesce(match_count, 10), 1), 100);
  leg_limit constant int := greatest(row_limit, 60);
  weight constant float8 := least(greatest(coalesce(nullif(vector_weight, 'NaN'), case when search_memories.fusion = 'weighted' then 0.7 else 0.5 end), 0), 1);
  uses_vectors constant boolean := query_embedding is not null and search_memories.method in ('hybrid', 'vector_search');
  uses_text constant boolean := search_memories.method in ('hybrid', 'full_text');
  candidate_budget constant int := 400;
  k1 constant float8 := 1.2;
  b constant float8 := 0.75;
  scope private.search_scope;
  parsed private.parsed_query;
  weighed private.query_terms;
  vector_leg private.search_leg;
  text_leg private.search_leg;
  identifier_leg private.search_leg;
  fused private.search_leg;
begin
  perform private.check_search(search_memories.query, query_embedding, search_memories.embedding_model, search_memories.method, search_memories.fusion);

  -- As in ai.search: everything below is counted over what the caller may see of what is asked for.
  scope := private.caller_search_scope(
    'memory', null, search_memories.agent_id, search_memories.user_id, case when uses_vectors then search_memories.embedding_model end
  );
  if scope.segments is null then
    return;
  end if;

  parsed := private.parse_query(search_memories.query, scope.languages);
  if uses_vectors then
    if parsed.required is null and parsed.excluded is null then
      vector_leg := private.nearest_items(scope, null, null, query_embedding, leg_limit);
    else
      vector_leg := private.nearest_wanted_items(scope, null, parsed, query_embedding, 10000, leg_limit);
    end if;
  end if;
  if uses_text then
    weighed := private.weigh_terms(parsed.words, scope.segments, scope.languages, scope.items, 16, candidate_budget);
    if weighed.terms is not null then
      text_leg := private.matching_items(
        weighed, parsed, scope, null, case when weight > 0 then vector_leg.item_ids end, k1, b, 2 * candidate_budget, leg_limit
      );
    end if;
    if parsed.identifiers <> '{}' then
      identifier_leg := private.identified_items(parsed, scope.segments, null, null, leg_limit);
    end if;
  end if;

  fused := private.fuse_legs(
    vector_leg, text_leg, identifier_leg,
    (
      case when search_memories.method = 'hybrid' then search_memories.fusion else 'none' end,
      weight, weighed.possible, coalesce(cardinality(parsed.identifiers), 0), scope.items, k1
    )::private.fusion,
    row_limit
  );

  -- Rows come from the table under row-level security, which has the last word.
  return query
  select
    memories.id,
    memories.body,
    memories.user_id,
    memories.agent_id,
    case when search_memories.method = 'vector_search' then hit.score else coalesce(hit.score / nullif(max(hit.score) over (), 0), 0) end,
    vector_leg.scores[array_position(vector_leg.item_ids, hit.item_id)],
    text_leg.scores[array_position(text_leg.item_ids, hit.item_id)],
    memories.created_at,
    memories.act
  from unnest(fused.item_ids, fused.scores) with ordinality as hit (item_id, score, place)
  join public.memories on memories.id = hit.item_id
  order by hit.place;
end;
$$;
