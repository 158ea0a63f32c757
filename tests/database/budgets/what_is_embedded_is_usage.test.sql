-- Indexing is counted where its vectors are written, as usage of the source's owner; budgets are about chat models.
begin;
select plan(5);
select tests.make_source('a_text', 'a', 'member');
select tests.make_source('b_text', 'b', null);
create function pg_temp.stage(name text, chunk int, tokens int)
returns void
language sql
as $$
  insert into private.staged_chunks (
    indexed_source_id, tenant_id, chunk_index, content_hash, text, start_char, end_char, tokens, score, meta, embedding_model, embedding
  )
  select id, tenant_id, chunk + part, 'h', 'staged', 0, 6, stage.tokens, 1, '{}', 'm', '[1,0]'
  from ai.indexed_sources
  cross join generate_series(0, 1) as part
  where id = tests.id('indexed ' || stage.name)
  on conflict on constraint staged_chunks_pkey do update set tokens = excluded.tokens;
$$;
select tests.as_service();
select pg_temp.stage('a_text', 0, 30);
select pg_temp.stage('b_text', 0, 5);
select results_eq(
  $$select tenant_id, user_id, kind, model, prompt_tokens, total_tokens, is_estimate from ai.usage_entries order by total_tokens$$,
  $$values (tests.tenant('b'), null::uuid, 'embedding', 'm', 10::bigint, 10::bigint, true), (tests.tenant('a'), tests.person('member'), 'embedding', 'm', 60::bigint, 60::bigint, true)$$,
  'one entry for each batch'
);
select pg_temp.stage('a_text', 1, 7);
select is((select sum(total_tokens) from ai.usage_entries where tenant_id = tests.tenant('a')), 74::numeric, 'what is embedded again is counted again');
select pg_temp.stage('a_text', 5, 0);
select is((select count(*) from ai.usage_entries where total_tokens = 0), 0::bigint, 'what has no tokens is none');
select tests.sign_in('member');
select is((select sum(total_tokens) from ai.usage_by_day() where kind = 'embedding'), 74::numeric, 'its owner reads it');
select tests.as_superuser();
insert into ai.budgets (tenant_id, scope, period, max_tokens) values (tests.tenant('a'), 'tenant', 'total', 1);
select tests.as_service();
select is(tests.outcome($$select private.check_budget(tests.tenant('a'), tests.person('member'), null)$$), 'ok', 'budgets are about something else');

select * from finish();
rollback;
