-- All chunks of a source are read for its table of contents: of so many sources, and of each once.
create or replace function ai.sections(
  indexed_source_ids uuid[],
  chunk_ids uuid[] default null,
  row_limit integer default 200
)
returns table (
  indexed_source_id uuid,
  source_id uuid,
  knowledge_base_id uuid,
  source_name text,
  chunk_id uuid,
  first_index integer,
  last_index integer,
  heading_path text[],
  first_page integer,
  last_page integer,
  summary text,
  beginning text,
  tokens bigint,
  section_count bigint
)
language sql
stable
set search_path = ''
-- A document's chunks are found by their index, however many documents there are.
set enable_seqscan = off
as $$
  with visible as (
    select
      wanted.place,
      chunks.id,
      chunks.indexed_source_id,
      chunks.source_id,
      chunks.knowledge_base_id,
      chunks.chunk_index,
      chunks.tokens,
      coalesce(chunks.meta -> 'heading_path', '[]'::jsonb) as path,
      chunks.meta -> 'pages' -> 0 as first_page,
      chunks.meta -> 'pages' -> -1 as last_page,
      bool_or(chunks.meta -> 'heading_path' ->> 0 is not null) over (partition by wanted.place) as has_headings
    from (
      select named.id, min(named.place) as place
      from unnest(sections.indexed_source_ids[:50]) with ordinality as named (id, place)
      group by named.id
    ) as wanted
    cross join lateral (
      select chunks.id, chunks.indexed_source_id, chunks.source_id, chunks.knowledge_base_id, chunks.chunk_index, chunks.tokens, chunks.meta
      from ai.chunks
      where chunks.indexed_source_id = wanted.id
      offset 0
    ) as chunks
  ),
  -- A document without headings has its pages as sections.
  keyed as (
    select visible.*, case when visible.has_headings then visible.path else coalesce(visible.first_page, 'null'::jsonb) end as key
    from visible
  ),
  begun as (
    select keyed.*, keyed.key is distinct from lag(keyed.key) over (partition by keyed.place order by keyed.chunk_index) as is_first
    from keyed
  ),
  numbered as (
    select begun.*, count(*) filter (where begun.is_first) over (partition by begun.place order by begun.chunk_index) as section
    from begun
  ),
  grouped as (
    select
      numbered.place,
      numbered.indexed_source_id,
      numbered.source_id,
      numbered.knowledge_base_id,
      (array_agg(numbered.id order by numbered.chunk_index))[1] as chunk_id,
      min(numbered.chunk_index) as first_index,
      max(numbered.chunk_index) as last_index,
      (array_agg(numbered.path order by numbered.chunk_index))[1] as path,
      -- Numbers as a document's own extraction gave them; anything else is no page.
      min(case when jsonb_typeof(numbered.first_page) = 'number' then numbered.first_page::text::numeric end)::integer as first_page,
      max(case when jsonb_typeof(numbered.last_page) = 'number' then numbered.last_page::text::numeric end)::integer as last_page,
      sum(numbered.tokens) as tokens,
      sections.chunk_ids is null or bool_or(numbered.id = any (sections.chunk_ids)) as is_wanted
    from numbered
    group by numbered.place, numbered.indexed_source_id, numbered.source_id, numbered.knowledge_base_id, numbered.section
  ),
  listed as (
    select grouped.*, count(*) over () as section_count
    from grouped
  ),
  taken as (
    select listed.*
    from listed
    where listed.is_wanted
    order by listed.place, listed.first_index
    limit least(greatest(sections.row_limit, 0), 500)
  )
  select
    taken.indexed_source_id, taken.source_id, taken.knowledge_base_id, sources.name, taken.chunk_id, taken.first_index, taken.last_index,
    array(select left(heading, 200) from jsonb_array_elements_text(taken.path) as heading limit 8),
    taken.first_page, taken.last_page,
    left(chunks.meta ->> 'section_summary', 600), left(chunks.text, 300), taken.tokens, taken.section_count
  from taken
  join ai.chunks on chunks.id = taken.chunk_id
  join ai.sources on sources.tenant_id = chunks.tenant_id and sources.id = taken.source_id
  order by taken.place, taken.first_index;
$$;

comment on function ai.sections(uuid[], uuid[], integer) is
  'The table of contents of the first 50 indexed sources named, in the order given, each once, of the chunks that the caller may read: runs of chunks under one heading, or, in a document without headings, on one page. With chunk_ids only the sections that hold one of these. section_count: sections of all of them; row_limit is 500 at most.';
