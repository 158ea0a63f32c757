-- As before, with the query parsed once for each language, however many segments there are.
create or replace function private.weigh_terms(
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
        select spoken.term, segment.id as segment_id, hashtextextended(spoken.term, segment.id) as key
        from (
          -- Parsed before the segments are joined, or it would be once per segment.
          select listed.language, parsed.lexeme as term
          from (select distinct named.language from unnest(languages) as named (language)) as listed
          cross join lateral unnest(private.lexemes_of(query, listed.language)) as parsed
          offset 0
        ) as spoken
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
