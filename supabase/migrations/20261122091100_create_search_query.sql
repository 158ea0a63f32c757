-- What a person may write into a query besides words.
create type private.parsed_query as (
  words text,
  identifiers text[],
  anchor text[],
  required tsquery,
  unwanted text[],
  excluded tsquery
);

create function private.parse_query(query text, languages text[])
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
          parsed.unwanted := parsed.unwanted || tsvector_to_array(private.lexemes_of(phrase, spoken));
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
          parsed.anchor := coalesce(parsed.anchor, tsvector_to_array(private.lexemes_of(phrase, spoken)));
        end if;
      end loop;
      if in_any is not null then
        parsed.required := coalesce(parsed.required && in_any, in_any);
      end if;
    end loop;
  end if;
  parsed.identifiers := case when parsed.words ~ '[0-9]' then private.identifiers_of(parsed.words) else '{}' end;
  return parsed;
end;
$$;

comment on type private.parsed_query is
  'A query taken apart: words to rank by, identifiers, what must stand in an item ("quoted phrases"; anchor: the lexemes of the first) and what must not (-word, -"phrase"; unwanted: its lexemes).';
comment on function private.parse_query(text, text[]) is 'Takes a query apart, as the text search configurations in `languages` see it. Never fails: what is not meant as an operator is a word.';

revoke execute on function private.parse_query(text, text[]) from public;
grant execute on function private.parse_query(text, text[]) to authenticated;
