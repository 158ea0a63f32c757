-- The same rule as before, without the set that search would pay for in each call.
alter policy "chunks stay inside their tenant" on ai.chunks using (tenant_id = any ((select private.caller_tenants())::uuid[]));
alter policy "sources stay inside their tenant on read" on ai.sources using (tenant_id = any ((select private.caller_tenants())::uuid[]));

-- An application may replace the read policies of ai.chunks (recipe 1 of the cookbook does). The segments of the index cannot
-- know such a rule, so then search asks ai.chunks itself what the caller may see and works on exactly that: slower, as exact.
create table private.shipped_policies (
  relation regclass primary key,
  versions text not null,
  fingerprint text not null
);

comment on table private.shipped_policies is 'What the policies that the search index repeats looked like when they were made.';
comment on column private.shipped_policies.versions is
  'Which rows of the catalog they were: other policies have other versions. Costs a tenth of the fingerprint to compare, but does not survive a restore.';

alter table private.shipped_policies enable row level security;
alter table private.shipped_policies force row level security;
revoke all on table private.shipped_policies from anon, authenticated, service_role;

create function private.policy_fingerprint(relation regclass)
returns text
language sql
stable
set search_path = ''
as $$
  select md5(
    string_agg(
      concat_ws(
        '|', policies.polname, policies.polpermissive, policies.polcmd, policies.polroles::regrole[]::text,
        pg_catalog.pg_get_expr(policies.polqual, policies.polrelid)
      ),
      '|' order by policies.polname
    )
  )
  from pg_catalog.pg_policy as policies
  where policies.polrelid = policy_fingerprint.relation;
$$;

comment on function private.policy_fingerprint(regclass) is 'A hash of the row-level security policies of a table as they are now.';

insert into private.shipped_policies (relation, versions, fingerprint)
select
  'ai.chunks',
  string_agg(policies.oid::text || ':' || policies.xmin::text, ',' order by policies.polname),
  private.policy_fingerprint('ai.chunks')
from pg_catalog.pg_policy as policies
where policies.polrelid = 'ai.chunks'::regclass;

create function private.chunk_policies_are_shipped()
returns boolean
language plpgsql
stable
security definer -- shipped_policies is readable by nobody
set search_path = ''
as $$
begin
  return (
    select
      shipped_policies.versions = (
        select string_agg(policies.oid::text || ':' || policies.xmin::text, ',' order by policies.polname)
        from pg_catalog.pg_policy as policies
        where policies.polrelid = shipped_policies.relation
      )
      or shipped_policies.fingerprint = private.policy_fingerprint(shipped_policies.relation)
    from private.shipped_policies
    where shipped_policies.relation = 'ai.chunks'::regclass
  );
end;
$$;

comment on function private.chunk_policies_are_shipped() is 'Whether the rule of the segments is the rule of ai.chunks.';

revoke execute on function private.policy_fingerprint(regclass) from public;
revoke execute on function private.chunk_policies_are_shipped() from public;
grant execute on function private.chunk_policies_are_shipped() to authenticated;

create function private.search_among_visible_chunks(
  knowledge_base_ids uuid[],
  sources uuid[],
  query_embedding extensions.vector,
  embedding_model text,
  words text,
  required tsquery,
  excluded tsquery,
  segments int[],
  languages text[],
  k1 float8,
  b float8,
  leg_limit int,
  out vector_leg private.search_leg,
  out text_leg private.search_leg,
  out possible float8
)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
declare
  visible constant uuid[] := array(
    select chunks.id
    from ai.chunks
    where (search_among_visible_chunks.knowledge_base_ids is null or chunks.knowledge_base_id = any (search_among_visible_chunks.knowledge_base_ids))
      and (sources is null or chunks.source_id = any (sources))
  );
  terms constant text[] := array(
    select distinct entry.lexeme
    from unnest(languages) as spoken (language)
    cross join lateral unnest(private.lexemes_of(words, spoken.language)) as entry
  );
begin
  if terms <> '{}' then
    perform set_config('bulkhead.search_terms_1', private.search_keys(segments, '', terms)::text, true);
    perform set_config('bulkhead.search_terms_2', current_setting('bulkhead.search_terms_1'), true);
    with matched as materialized (
      select items.item_id, items.term_count, items.lexemes
      from unnest(visible) as seen (id)
      join private.search_lexemes as items on items.item_id = seen.id
      where (required is null or items.lexemes operator(pg_catalog.@@) required)
        and (excluded is null or not items.lexemes operator(pg_catalog.@@) excluded)
    ),
    hits as materialized (
      select matched.item_id, matched.term_count, entry.lexeme, cardinality(entry.positions)::float8 as frequency
      from matched
      cross join lateral unnest(matched.lexemes) as entry
      where entry.lexeme = any (terms)
    ),
    weights as (
      select hits.lexeme, ln(1 + (cardinality(visible) - count(*) + 0.5) / (count(*) + 0.5)) as idf
      from hits
      group by hits.lexeme
    ),
    -- Items without any of the words are not read, so the average length is that of the others.
    lengths as (
      select greatest(avg(matched.term_count), 1)::float8 as average from matched
    ),
    best as (
      select
        hits.item_id,
        sum(weights.idf * hits.frequency * (k1 + 1) / (hits.frequency + k1 * (1 - b + b * hits.term_count / lengths.average))) as score
      from hits
      join weights on weights.lexeme = hits.lexeme
      cross join lengths
      group by hits.item_id
      order by score desc, hits.item_id
      limit leg_limit
    )
    select
      array_agg(best.item_id order by best.score desc, best.item_id),
      array_agg(best.score order by best.score desc, best.item_id),
      -- As in private.weigh_terms().
      (
        select sum(weights.idf) + (cardinality(terms) - count(*)) * 0.5 * ln(1 + (cardinality(visible) + 0.5) / 0.5)
        from weights
      )
    into text_leg.item_ids, text_leg.scores, possible
    from best;
  end if;
  if query_embedding is not null then
    select array_agg(near.item_id order by near.distance, near.item_id), array_agg(-near.distance order by near.distance, near.item_id)
    into vector_leg
    from (
      select vectors.item_id, vectors.embedding operator(extensions.<#>) private.unit_vector(query_embedding) as distance
      from unnest(visible) as seen (id)
      join private.search_vectors as vectors on vectors.item_id = seen.id
      join private.vector_sets
        on vector_sets.id = vectors.vector_set_id
        and vector_sets.embedding_model = search_among_visible_chunks.embedding_model
        and vector_sets.dimensions = extensions.vector_dims(query_embedding)
      order by 2, 1
      limit leg_limit
    ) as near;
  end if;
end;
$$;

comment on function private.search_among_visible_chunks(uuid[], uuid[], extensions.vector, text, text, tsquery, tsquery, int[], text[], float8, float8, int) is
  'Both legs of ai.search over exactly the chunks that the policies of ai.chunks show, whatever they are. Takes time in proportion to their number.';

revoke execute on function private.search_among_visible_chunks(uuid[], uuid[], extensions.vector, text, text, tsquery, tsquery, int[], text[], float8, float8, int) from public;
grant execute on function private.search_among_visible_chunks(uuid[], uuid[], extensions.vector, text, text, tsquery, tsquery, int[], text[], float8, float8, int) to authenticated;
