begin;
select plan(22);
select tests.make_world();
create function pg_temp.jobs(key text)
returns int
language sql
security definer
as $$ select count(*)::int from pgboss.job where job.name = 'index_source' and job.data = jsonb_build_object('id', key); $$;
create function pg_temp.add(base text, source text)
returns text
language sql
as $$
  select tests.outcome(format('select tests.keep(''answer'', ai.add_source_to_knowledge_base(%L, %L)::text)', tests.id('base ' || base), tests.id('source ' || source)));
$$;

select tests.sign_in('member');
select is(pg_temp.add('a', 'a_open'), 'ok', 'an extracted source');
select is(tests.kept('answer')::jsonb ->> 'index_status', 'pending', 'waits to be indexed');
select is(tests.kept('answer')::jsonb ->> 'source_name', 'a_open', 'the answer says its name');
select ok(not tests.kept('answer')::jsonb ?| array['lease_token', 'leased_by'], 'and no lease');
select tests.keep('id', tests.kept('answer')::jsonb ->> 'id');
select is(pg_temp.jobs(tests.kept('id')), 1, 'the job is queued');
select is(pg_temp.add('a', 'a_open'), 'ok', 'again');
select is(tests.kept('answer')::jsonb ->> 'id', tests.kept('id'), 'is the same row');
select is(pg_temp.jobs(tests.kept('id')), 1, 'and the same waiting job');

-- Again while a worker is at it: that worker's lease is gone, and it is done anew.
select tests.as_service();
select tests.keep('lease', ai.claim_indexing(tests.kept_id('id'), 'w') ->> 'lease_token');
select tests.sign_in('member');
select is(pg_temp.add('a', 'a_open'), 'ok', 'again during indexing');
select tests.as_service();
select is(ai.stage_chunks(tests.kept_id('id'), tests.kept_id('lease'), '[]', 'm'), false, 'the worker''s next write is refused');

select tests.sign_in('member');
select is(pg_temp.add('a', 'a_named'), 'ok', 'a source one may read can be added by whoever may write');
select tests.sign_in('both');
select is(pg_temp.add('a', 'a_secret'), 'PT404 not_found', 'one that is hidden is not there');
select is(pg_temp.add('b', 'a_open'), 'PT404 not_found', 'a source and a knowledge base of two tenants cannot meet, even for a member of both');
select is(pg_temp.add('a', 'a_open'), 'ok', 'of one tenant they can');
select tests.sign_in('viewer');
select is(pg_temp.add('a', 'a_open'), 'PT404 not_found', 'viewers add nothing');
select tests.sign_in('b_member');
select is(pg_temp.add('a', 'a_open'), 'PT404 not_found', 'nor other tenants');
select is(pg_temp.add('b', 'b_secret'), 'PT404 not_found', 'nor what is hidden in the own one');
select is(pg_temp.add('none', 'b_open'), 'PT404 not_found', 'a knowledge base that does not exist');

select tests.as_superuser();
update ai.sources set extraction_status = 'pending', extracted_at = null where id = tests.id('source a_open');
select tests.sign_in('member');
select is(pg_temp.add('a', 'a_open'), 'PT400 source_not_extracted', 'one that is not extracted yet');
select is(tests.kept('last_message'), 'Source must be extracted first (status: pending)', 'in the words of the agent API');
select is(
  tests.outcome_undone(format('select ai.add_source_to_knowledge_base(%L, %L)', tests.id('base a'), tests.id('source a_secret'))), 'ok', 'one that is undone'
);
select is_empty(
  format($$select id from ai.indexed_sources where knowledge_base_id = %L and source_id = %L$$, tests.id('base a'), tests.id('source a_secret')), 'leaves nothing'
);

select * from finish();
rollback;
