-- As before, but numbers that are too short to be identifiers take no place from those that are: a table of prices hid the
-- invoice number below it.
create or replace function private.identifiers_of(content text)
returns text[]
language sql
immutable
set search_path = ''
as $$
  select coalesce(array_agg(distinct found.identifier), '{}')
  from (
    select spelled.identifier
    from regexp_matches(content, '\m((?:[A-Za-z]{1,6}[-_/]?)?[0-9][0-9A-Za-z]*(?:[-_/][0-9A-Za-z]+)*)\M', 'g') as match
    cross join lateral (select translate(upper(match[1]), '-_/', '') as identifier) as spelled
    where char_length(spelled.identifier) between case when spelled.identifier ~ '[A-Z]' then 4 else 5 end and 32
    limit 128
  ) as found;
$$;

comment on function private.identifiers_of(text) is
  'Part numbers, invoice numbers and the like in a text: up to six letters, then digits and letters, joined by - _ or /. Upper case, without the joints, 4 to 32 characters (5, if all are digits), the first 128.';

-- What has more numbers than were looked at is indexed again.
do $reindex$
declare
  chunk_ids uuid[];
  memory_ids constant uuid[] := array(select memories.id from public.memories where regexp_count(memories.body, '[0-9]+') > 64);
begin
  delete from private.search_lexemes where search_lexemes.item_id = any (memory_ids);
  perform private.index_memories(memory_ids);
  for chunk_ids in
    select array_agg(chunks.id)
    from ai.chunks
    where regexp_count(chunks.text, '[0-9]+') > 64
    group by chunks.indexed_source_id
  loop
    perform private.move_chunks(chunk_ids);
  end loop;
end;
$reindex$;
