-- A memory of nothing but common words or marks has no keys: it is found by its vector only. Without this it could not be written at all.
create or replace function private.search_keys_of(segment_id int, lexemes tsvector, identifiers text[], source_id uuid)
returns bigint[]
language sql
immutable
set search_path = ''
as $$
  select coalesce(array_agg(keys.key), '{}')
  from (
    select hashtextextended(words.lexeme, search_keys_of.segment_id) as key from unnest(search_keys_of.lexemes) as words
    union all
    select hashtextextended('#' || codes.code, search_keys_of.segment_id) from unnest(search_keys_of.identifiers) as codes (code)
    union all
    select hashtextextended('~' || variants.variant, search_keys_of.segment_id)
    from unnest(search_keys_of.identifiers) as codes (code)
    cross join lateral private.shortened(codes.code) as variants (variant)
    union all
    select hashtextextended('@' || search_keys_of.source_id::text, search_keys_of.segment_id)
    where search_keys_of.source_id is not null
  ) as keys;
$$;
