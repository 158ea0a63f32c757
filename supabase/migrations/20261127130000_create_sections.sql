-- Tables of contents, for searches in which a model picks from them (tree_search). They are made of the chunks that the caller may read, at every call.
create function ai.outline_sources(
  knowledge_base_ids uuid[],
  source_ids uuid[] default null,
  filter_metadata jsonb default null,
  row_limit integer default 50
)
returns table (
  indexed_source_id uuid,
  source_id uuid,
  source_name text,
  knowledge_base_id uuid,
  page_count integer,
  headings text[],
  beginning text
)
language sql
stable
set search_path = ''
-- A document's chunks are found by their index, however many documents there are.
set enable_seqscan = off
as $$
  select
    indexed_sources.id, sources.id, sources.name, indexed_sources.knowledge_base_id, sources.page_count,
    outlines.headings, coalesce(left(first_chunks.summary, 300), left(first_chunks.text, 300))
  from ai.indexed_sources
  join ai.sources on sources.tenant_id = indexed_sources.tenant_id and sources.id = indexed_sources.source_id
  -- Who may read none of its chunks is not told that there is a document.
  cross join lateral (
    select chunks.text, chunks.meta ->> 'section_summary' as summary
    from ai.chunks
    where chunks.indexed_source_id = indexed_sources.id
    order by chunks.chunk_index
    limit 1
  ) as first_chunks
  cross join lateral (
    select array(
      select left(array_to_string(headed.path, ' > '), 160)
      from (
        select
          array[chunks.meta -> 'heading_path' ->> 0, chunks.meta -> 'heading_path' ->> 1] as path,
          min(chunks.chunk_index) as place
        from ai.chunks
        where chunks.indexed_source_id = indexed_sources.id and chunks.chunk_index < 2000
          and chunks.meta -> 'heading_path' ->> 0 is not null
        group by path
        order by place
        limit 12
      ) as headed
      order by headed.place
    ) as headings
  ) as outlines
  where indexed_sources.knowledge_base_id = any (outline_sources.knowledge_base_ids)
    and indexed_sources.indexed_at is not null
    and (outline_sources.source_ids is null or indexed_sources.source_id = any (outline_sources.source_ids))
    and (outline_sources.filter_metadata is null or sources.metadata @> outline_sources.filter_metadata)
  order by sources.created_at desc, sources.id, indexed_sources.id
  limit least(greatest(outline_sources.row_limit, 0), 200);
$$;

comment on function ai.outline_sources(uuid[], uuid[], jsonb, integer) is
  'What documents are indexed in knowledge bases, as far as the caller may read them: name, pages, headings of the first two levels (at most 12, of the first 2,000 chunks) and how each begins. Newest first; row_limit is 200 at most.';

create function ai.sections(
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
    from unnest(sections.indexed_source_ids) with ordinality as wanted (id, place)
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
  'The table of contents of indexed sources, in the order given, of the chunks that the caller may read: runs of chunks under one heading, or, in a document without headings, on one page. With chunk_ids only the sections that hold one of these. section_count: sections of all of them; row_limit is 500 at most.';

revoke execute on function ai.outline_sources(uuid[], uuid[], jsonb, integer) from public, anon, authenticated, service_role;
revoke execute on function ai.sections(uuid[], uuid[], integer) from public, anon, authenticated, service_role;
grant execute on function ai.outline_sources(uuid[], uuid[], jsonb, integer) to authenticated;
grant execute on function ai.sections(uuid[], uuid[], integer) to authenticated;
