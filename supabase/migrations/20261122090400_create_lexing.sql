-- How texts and queries become terms. Both sides go through the same functions.
create function private.space_bigrams(content text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
declare
  -- Han, kana, Hangul, Thai, Lao, Myanmar and Khmer: scripts whose words no space divides, or not reliably.
  dense constant text := '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f]';
  spaced text;
begin
  if content !~ dense then
    return content;
  end if;
  -- abc -> aabbcc -> abbc -> "ab bc ": every character twice, the ends of each run once, cut into pairs.
  spaced := regexp_replace(content, '(' || dense || ')', '\1\1', 'g');
  spaced := regexp_replace(spaced, '(?<!' || dense || ')' || dense || '(' || dense || '+)' || dense || '(?!' || dense || ')', ' \1 ', 'g');
  return regexp_replace(spaced, '(' || dense || dense || ')', '\1 ', 'g');
end;
$$;

comment on function private.space_bigrams(text) is
  'The text with each run of characters of a script without word boundaries written as overlapping pairs: 東京都 becomes 東京 京都. Other text stays as it is.';

create function private.words_of(content text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- The parser would take "heat/transfer" for a file and count a word with a hyphen three times.
  return translate(
    case when octet_length(content) <> char_length(content) then private.space_bigrams(normalize(content, NFKC)) else content end,
    '/-', '  '
  );
end;
$$;

comment on function private.words_of(text) is
  'A text as the parser should read it: compatibility forms (NFKC) unified, scripts without spaces as character pairs, compounds apart.';

create function private.lexemes_of(content text, language text)
returns tsvector
language plpgsql
stable
set search_path = ''
as $$
begin
  return to_tsvector(('pg_catalog.' || language)::regconfig, private.words_of(content));
end;
$$;

comment on function private.lexemes_of(text, text) is 'Terms of a text with their positions, by the text search configuration `language`.';

create function private.identifiers_of(content text)
returns text[]
language sql
immutable
set search_path = ''
as $$
  select coalesce(array_agg(distinct found.identifier), '{}')
  from (
    select translate(upper(match[1]), '-_/', '') as identifier
    from regexp_matches(content, '\m((?:[A-Za-z]{1,6}[-_/]?)?[0-9][0-9A-Za-z]*(?:[-_/][0-9A-Za-z]+)*)\M', 'g') as match
    limit 64
  ) as found
  where char_length(found.identifier) between case when found.identifier ~ '[A-Z]' then 4 else 5 end and 32;
$$;

comment on function private.identifiers_of(text) is
  'Part numbers, invoice numbers and the like in a text: up to six letters, then digits and letters, joined by - _ or /. Upper case, without the joints, 4 to 32 characters (5, if all are digits), the first 64.';

create function private.shortened(identifier text)
returns setof text
language sql
immutable
set search_path = ''
as $$
  select distinct overlay(shortened.identifier placing '' from position for 1)
  from generate_series(1, char_length(shortened.identifier)) as position
  where char_length(shortened.identifier) >= 5;
$$;

comment on function private.shortened(text) is
  'The identifier with each one character left out. Two identifiers one edit apart share one of these or are one of the other''s: the deletion neighbourhood of Mor and Fraenkel (1982).';

-- The key of a term is hashtextextended(mark || term, segment): the segment is part of it, so that a posting list holds rows
-- of one segment only. Marks: none for a word, # an identifier, ~ one with a character left out, @ a source.
create function private.search_keys_of(segment_id int, lexemes tsvector, identifiers text[], source_id uuid)
returns bigint[]
language sql
immutable
set search_path = ''
as $$
  select array_agg(keys.key)
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

comment on function private.search_keys_of(int, tsvector, text[], uuid) is 'Everything an item is found by in the inverted index.';

revoke execute on function private.space_bigrams(text) from public;
revoke execute on function private.words_of(text) from public;
revoke execute on function private.lexemes_of(text, text) from public;
revoke execute on function private.identifiers_of(text) from public;
revoke execute on function private.shortened(text) from public;
revoke execute on function private.search_keys_of(int, tsvector, text[], uuid) from public;
grant execute on function private.space_bigrams(text) to authenticated;
grant execute on function private.words_of(text) to authenticated;
grant execute on function private.lexemes_of(text, text) to authenticated;
grant execute on function private.identifiers_of(text) to authenticated;
grant execute on function private.shortened(text) to authenticated;
