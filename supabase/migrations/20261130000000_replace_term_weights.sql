-- As before, with the words that an identifier is read as ("tck", "2024" and "69377" of TCK-2024-69377) left out of what else the
-- query asks for: counted as further words, they made a near spelling look like a remark in a sentence. And keys of the segments
-- alone that hold a word, and no more look-ups than 200,000.
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
  identifiers constant text[] := case when query ~ '[0-9]' then (private.identifiers_of(query))[:16] else '{}' end;
  -- As in private.fuse_legs().
  identifiers_idf constant float8 := cardinality(identifiers) * 2 * ln(1 + (segment_items + 0.5) / 0.5);
begin
  select
    array_agg(ranked.term) filter (where ranked.is_used),
    array_agg(('''' || replace(replace(ranked.term, '\', '\\'), '''', '''''') || '''')::tsquery) filter (where ranked.is_used),
    array_agg(ranked.idf) filter (where ranked.is_used),
    -- An identifier is asked for once: as itself, which fusion adds, or as the words it is read as where these say more.
    coalesce(sum(ranked.idf) filter (where ranked.is_asked and not ranked.is_in_identifier), 0)
      + greatest(sum(ranked.idf) filter (where ranked.is_asked and ranked.is_in_identifier) - identifiers_idf, 0),
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
      counted.item_count is null or counted.item_count > 0 and row_number() over by_rarity <= term_limit as is_asked,
      identifiers <> '{}'
        and exists (select from unnest(identifiers) as named (identifier) where strpos(named.identifier, upper(counted.term)) > 0) as is_in_identifier,
      row_number() over by_rarity as position,
      sum(counted.item_count) over by_rarity as running,
      -- Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), in the form that stays above zero.
      -- A word that nobody has written counts half of one written once: without it, a query of which one common word is found
      -- would look answered, and silence the vectors.
      coalesce(ln(1 + (segment_items - counted.item_count + 0.5) / (counted.item_count + 0.5)), 0.5 * ln(1 + (segment_items + 0.5) / 0.5)) as idf
    from (
      select asked.term, string_agg(asked.key::text, ',') filter (where looked_up.item_count > 0) as keys, sum(looked_up.item_count)::float8 as item_count
      from (
        -- The keys are made first: an expression in their place would not be leakproof, and no index condition under row-level security.
        select spoken.term, segment.id as segment_id, hashtextextended(spoken.term, segment.id) as key
        from (
          -- Parsed before the segments are joined, or it would be once per segment.
          select listed.language, parsed.lexeme as term
          from (select distinct named.language from unnest(languages) as named (language)) as listed
          cross join lateral unnest(private.lexemes_of(query, listed.language)) as parsed
          -- A page of text asked of thousands of segments would be millions of look-ups.
          limit greatest(200000 / cardinality(segments), 16)
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

comment on function private.weigh_terms(text, int[], text[], bigint, int, int) is
  'The words of a query that stand in these segments, rarest first, at most term_limit, with their idf over exactly these segments; possible is the idf of all that the query asks for beside its identifiers; rare are those words that together stand in at most `budget` items. Each segment is asked in its own language.';
