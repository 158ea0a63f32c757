-- Documents for the isolation tests, made of nothing but the numbers they are given: the same call makes the same rows.
create schema isolation;
grant usage on schema isolation to public;

-- A word for a number, without digits, so that it is no identifier.
create function isolation.word(n int)
returns text
language sql
immutable
as $$ select 'v' || translate(n::text, '0123456789', 'bcdfghjklm') || 'on'; $$;

create function isolation.noise(label text, dimension int)
returns float8
language sql
immutable
as $$ select (hashtextextended(label, dimension) % 1000000) / 1000000.0::float8; $$;

-- A point of 64 dimensions: that of the topic, moved by `spread` towards that of the label.
create function isolation.point(topic text, label text, spread float8)
returns extensions.vector
language sql
immutable
as $$
  select array_agg(isolation.noise(topic, i) + spread * isolation.noise(label, i) order by i)::float8[]::extensions.vector
  from generate_series(1, 64) as i;
$$;

-- What is asked about a topic; every one holds words of all documents, words of the topic and an identifier.
create function isolation.question(topic int)
returns text
language sql
immutable
as $$
  select format(
    'what is the %s of the %s %s %s for INV-2024-%s',
    isolation.word(topic * 7), isolation.word(topic * 7 + 1), isolation.word(topic * 7 + 2), isolation.word(90000 + topic % 5),
    lpad((topic * 11)::text, 5, '0')
  );
$$;

create function isolation.question_point(topic int)
returns extensions.vector
language sql
immutable
as $$ select isolation.point('topic ' || topic, 'question ' || topic, 0.4); $$;

create function isolation.body(topic int, label text)
returns text
language sql
immutable
as $$
  select string_agg(
    case i % 4
      when 0 then isolation.word(90000 + (abs(hashtextextended(label, i)) % 40)::int)
      else isolation.word(topic * 7 + (abs(hashtextextended(label, i)) % 7)::int)
    end,
    ' ' order by i
  )
    || case when abs(hashtextextended(label, 0)) % 3 = 0 then format('. See INV-2024-%s.', lpad((topic * 11)::text, 5, '0')) else '.' end
  from generate_series(1, 16) as i;
$$;

-- `count` chunks of one person in one knowledge base, 10 to a source, as the indexer leaves them. `topics`: an own chunk is
-- about one of them, an echo repeats the question about it, at its point.
create function isolation.fill(
  label text,
  tenant_id uuid,
  knowledge_base_id uuid,
  owner_id uuid,
  visibility text,
  allowed_principals uuid[],
  count int,
  topics int[],
  is_echo boolean default false,
  embedding_model text default 'isolation-64'
)
returns int
language plpgsql
set search_path = ''
as $$
#variable_conflict use_variable
declare
  made uuid[];
  stored int;
begin
  insert into ai.sources (
    id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility, allowed_principals,
    extraction_status, uploaded_at, extracted_at, page_count, metadata
  )
  select
    source.id, tenant_id, owner_id, label || ' ' || n, '.txt', 'text/plain', 10, encode(sha256(convert_to(label || n, 'UTF8')), 'hex'),
    tenant_id || '/' || source.id || '/a.txt', visibility, allowed_principals, 'extracted', now(), now(), 1, jsonb_build_object('year', 2020 + n % 3)
  from generate_series(0, (count - 1) / 10) as n
  cross join lateral (select md5(label || ' source ' || n)::uuid as id) as source;
  insert into ai.indexed_sources (id, tenant_id, knowledge_base_id, source_id, index_status, indexed_at, embedding_model)
  select md5(label || ' indexed ' || n)::uuid, tenant_id, knowledge_base_id, md5(label || ' source ' || n)::uuid, 'indexed', now(), embedding_model
  from generate_series(0, (count - 1) / 10) as n;
  with inserted as (
    insert into ai.chunks (
      id, tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, allowed_principals, text, chunk_index,
      start_char, end_char, tokens, embedding_model
    )
    select
      md5(label || ' chunk ' || i)::uuid, tenant_id, md5(label || ' indexed ' || i / 10)::uuid, knowledge_base_id,
      md5(label || ' source ' || i / 10)::uuid, owner_id, visibility, allowed_principals,
      case when is_echo then isolation.question(topic) else isolation.body(topic, label || i) end, i % 10, 0, 100, 20, embedding_model
    from generate_series(0, count - 1) as i
    cross join lateral (select topics[1 + i % cardinality(topics)] as topic) as about
    returning id
  )
  select array_agg(inserted.id) into made from inserted;
  select private.store_vectors(embedding_model, array_agg(given.id), array_agg(given.embedding)) into stored
  from (
    select
      md5(label || ' chunk ' || i)::uuid as id,
      case
        when is_echo then isolation.point('topic ' || topic, 'question ' || topic, 0.4 + 0.00005 * (i / cardinality(topics)))
        else isolation.point('topic ' || topic, label || i, 0.8)
      end as embedding
    from generate_series(0, count - 1) as i
    cross join lateral (select topics[1 + i % cardinality(topics)] as topic) as about
  ) as given;
  return stored;
end;
$$;

create function isolation.clear(label text)
returns void
language sql
set search_path = ''
as $$ delete from ai.sources where sources.name like label || ' %'; $$;

-- What the worker does for a vector set that has grown, whatever its size.
create function isolation.build_graph(tenant_id uuid, embedding_model text default 'isolation-64')
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  vector_set_id int;
begin
  select vector_sets.id into strict vector_set_id
  from private.vector_sets
  where vector_sets.tenant_id = build_graph.tenant_id and vector_sets.embedding_model = build_graph.embedding_model;
  return private.begin_vector_graph(vector_set_id) and private.fill_vector_graph(vector_set_id) and private.finish_vector_graph(vector_set_id);
end;
$$;

-- Memories of one person, or of the tenant, with their vectors, as the worker leaves them.
create function isolation.remember(
  label text,
  tenant_id uuid,
  user_id uuid,
  count int,
  topics int[],
  is_echo boolean default false,
  embedding_model text default 'isolation-64'
)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_variable
begin
  insert into public.memories (id, tenant_id, user_id, body)
  select
    md5(label || ' memory ' || i)::uuid, tenant_id, user_id,
    label || ': ' || case when is_echo then isolation.question(topic) else isolation.body(topic, label || i) end
  from generate_series(0, count - 1) as i
  cross join lateral (select topics[1 + i % cardinality(topics)] as topic) as about;
  perform private.store_vectors(embedding_model, array_agg(given.id), array_agg(given.embedding))
  from (
    select
      md5(label || ' memory ' || i)::uuid as id,
      isolation.point('topic ' || topic, case when is_echo then 'question ' || topic else label || i end, case when is_echo then 0.4 else 0.8 end) as embedding
    from generate_series(0, count - 1) as i
    cross join lateral (select topics[1 + i % cardinality(topics)] as topic) as about
  ) as given;
  update public.memories set embedding_model = remember.embedding_model where memories.body like label || ': %';
end;
$$;
