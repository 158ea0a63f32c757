-- What a model has written of a document or a passage at indexing, to find it by, counts among its words as it does in its vector.
create or replace function private.chunk_words(content text, meta jsonb)
returns text
language sql
immutable
set search_path = ''
as $$
  select concat_ws(
    E'\n',
    (
      select string_agg(headings.heading, E'\n')
      from jsonb_array_elements_text(case when jsonb_typeof(meta -> 'heading_path') = 'array' then meta -> 'heading_path' else '[]' end) as headings (heading)
    ),
    meta ->> 'document_summary',
    meta ->> 'node_summary',
    content
  );
$$;

comment on function private.chunk_words(text, jsonb) is
  'What a chunk is found by: its text under the headings it stands under and, where a model has written one to find it by, a summary.';
comment on column ai.chunks.meta is
  '{"pages": [from 1], "heading_path": [outermost first]}, and what strategies add. What a model wrote is in document_summary, section_summary, node_summary, entities and record only.';
