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

create function private.check_search(
  query text,
  query_embedding extensions.vector,
  embedding_model text,
  method text,
  fusion text
)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if check_search.method is null or check_search.method not in ('hybrid', 'vector_search', 'full_text') then
    perform private.raise_error(400, 'invalid_request', 'method must be hybrid, vector_search or full_text.', null);
  end if;
  if check_search.fusion is null or check_search.fusion not in ('rrf', 'weighted') then
    perform private.raise_error(400, 'invalid_request', 'fusion must be rrf or weighted.', null);
  end if;
  if check_search.query is null or char_length(check_search.query) not between 1 and 4000 then
    perform private.raise_error(400, 'invalid_request', 'query must have 1 to 4000 characters.', 'Shorten the query.');
  end if;
  if check_search.method = 'vector_search' and query_embedding is null then
    perform private.raise_error(400, 'invalid_request', 'vector_search needs query_embedding.', 'Send the embedding of the query, or use full_text.');
  end if;
  if query_embedding is not null then
    if check_search.embedding_model is null then
      perform private.raise_error(400, 'invalid_request', 'query_embedding needs embedding_model.', 'Name the model that made the vector.');
    end if;
    if extensions.vector_norm(query_embedding) = 0 then
      perform private.raise_error(400, 'invalid_embedding', 'query_embedding is the zero vector.', 'A zero vector has no direction to compare.');
    end if;
  end if;
end;
$$;

comment on function private.check_search(text, extensions.vector, text, text, text) is
  'What every search refuses before it begins: PT400 invalid_request or invalid_embedding.';

revoke execute on function private.check_search(text, extensions.vector, text, text, text) from public;
revoke execute on function private.parse_query(text, text[]) from public;
grant execute on function private.check_search(text, extensions.vector, text, text, text) to authenticated;
grant execute on function private.parse_query(text, text[]) to authenticated;
