-- Enriching a knowledge base: who may ask, whose rights it has, one worker at a time, and what is counted.
begin;
select plan(62);
select tests.make_world();
-- The default knowledge base of tenant A has sources of every visibility; see 20-world.sql. What the world says of enrichment is begun anew.
delete from ai.enrichments;
select tests.keep('base', (select id::text from ai.knowledge_bases where tenant_id = tests.tenant('a') and is_default));
delete from pgboss.job;

create function pg_temp.fields(name text default 'topic') returns jsonb language sql as $$
  select jsonb_build_array(jsonb_build_object('name', name, 'description', 'What it is about.', 'type', 'text'));
$$;
create function pg_temp.set_fields(fields jsonb default pg_temp.fields(), base uuid default tests.kept_id('base')) returns text language sql as $$
  select tests.outcome(format('select ai.set_enrichment(%L, %L)', base, fields));
$$;
create function pg_temp.run(incremental boolean default false, retry_failed boolean default false) returns text language sql as $$
  select tests.outcome(format('select ai.run_enrichment(%L, %L, %L)', tests.kept_id('base'), incremental, retry_failed));
$$;
create function pg_temp.enrichment() returns uuid language sql security definer as $$
  select id from ai.enrichments where knowledge_base_id = tests.kept_id('base');
$$;
create function pg_temp.claim(name text) returns boolean language sql as $$
  select tests.keep(name, ai.claim_enrichment(pg_temp.enrichment(), name) ->> 'lease_token') <> '';
$$;
create function pg_temp.items(item_limit int default 100) returns text[] language sql as $$
  select coalesce(array_agg(source_name order by source_name), '{}') from ai.items_to_enrich(pg_temp.enrichment(), item_limit);
$$;
create function pg_temp.store(lease text, of text, values_of jsonb default '{"topic": "x"}', code text default null) returns boolean language sql as $$
  select ai.store_enrichment_result(
    pg_temp.enrichment(), tests.kept_id(lease), tests.id('indexed ' || of), (select extracted_at from ai.sources where id = tests.id('source ' || of)),
    case when code is null then values_of end, code, case when code is not null then 'It failed.' end
  );
$$;
create function pg_temp.state() returns table (status text, enriched bigint, failed bigint, total bigint) language sql as $$
  select status, enriched_count, failed_count, total_count from ai.enrichment_state(array[tests.kept_id('base')]);
$$;

-- The form of fields
select is(private.is_enrichment_fields(pg_temp.fields()), true, 'a field');
select is(private.is_enrichment_fields('[{"name": "a", "description": "x", "type": "enum", "enum_values": ["x", "y"]}]'), true, 'an enum');
select is(private.is_enrichment_fields(f), false, 'not ' || coalesce(f::text, 'null'))
from unnest(array[
  null, '{}', '[]', '[1]', '[{"name": "a"}]', '[{"name": "a", "description": "x"}]', '[{"name": "a", "description": " ", "type": "text"}]',
  '[{"name": "1a", "description": "x", "type": "text"}]', '[{"name": "ID", "description": "x", "type": "text"}]',
  '[{"name": "a", "description": "x", "type": "date"}]', '[{"name": "a", "description": "x", "type": "enum"}]',
  '[{"name": "a", "description": "x", "type": "enum", "enum_values": ["x"]}]', '[{"name": "a", "description": "x", "type": "enum", "enum_values": ["x", "x"]}]',
  '[{"name": "a", "description": "x", "type": "enum", "enum_values": ["x", 1]}]', '[{"name": "a", "description": "x", "type": "text", "enum_values": ["x", "y"]}]',
  '[{"name": "a", "description": "x", "type": "text"}, {"name": "A", "description": "x", "type": "text"}]', '[{"name": "a", "description": "x", "type": "text", "more": 1}]'
]::jsonb[]) as f;

-- Who may ask
select tests.sign_in('viewer');
select is(pg_temp.set_fields(), 'PT403 forbidden', 'a viewer sets nothing');
select is(pg_temp.set_fields(base => tests.id('base demoted')), 'PT403 forbidden', 'not even where they were more once');
select tests.sign_in('member');
select is(pg_temp.set_fields(), 'PT403 forbidden', 'nor does a member who has not made the knowledge base');
select is(pg_temp.set_fields(base => tests.id('base a')), 'ok', 'one who has does');
select is(pg_temp.run(), 'PT404 not_found', 'what is not set is not run');
select tests.sign_in('b_member');
select is(pg_temp.set_fields(), 'PT404 not_found', 'to another tenant there is no such knowledge base');
select tests.as_anon();
select is(pg_temp.set_fields(), '42501', 'nobody in particular sets nothing');
select tests.sign_in('admin');
select is(pg_temp.set_fields('[]'), 'PT400 invalid_request', 'what is set has a form');
select is(pg_temp.set_fields(), 'ok', 'an admin sets it');
select is(pg_temp.set_fields(), 'ok', 'the same again is nothing');
select is(pg_temp.set_fields(pg_temp.fields('other')), 'PT409 conflict', 'something else waits for the end of the run');
select is(pg_temp.run(), 'PT409 conflict', 'and so does another run');
select is(tests.outcome(format('select ai.delete_enrichment(%L)', tests.kept('base'))), 'PT409 conflict', 'and its end for good');
select tests.as_superuser();
select results_eq(
  $$select data, group_id from pgboss.job where name = 'enrich_knowledge_base' and data ->> 'id' = pg_temp.enrichment()::text$$,
  $$values (jsonb_build_object('id', pg_temp.enrichment()), tests.tenant('a')::text)$$,
  'one job waits, which carries an id and belongs to the tenant'
);

-- Whose rights it has
select tests.as_service();
select is(ai.claim_enrichment(gen_random_uuid(), 'x'), null, 'what is not there is not claimed');
select is(pg_temp.claim('first'), true, 'a worker takes the run up');
select is(ai.claim_enrichment(pg_temp.enrichment(), 'x'), null, 'and no other one');
select is(
  ai.delegate_enrichment(pg_temp.enrichment(), tests.kept_id('first')), jsonb_build_object('sub', tests.person('admin'), 'tenant_id', tests.tenant('a')),
  'it acts for who asked'
);
select is(ai.delegate_enrichment(pg_temp.enrichment(), gen_random_uuid()), null, 'nobody else does');
select tests.sign_in('admin');
select is(pg_temp.items(), array['a_boss', 'a_found', 'a_named', 'a_open', 'a_team'], 'what they can see is to be asked about');
select is(cardinality(pg_temp.items(2)), 2, 'so many at once');
select tests.sign_in('owner');
select is(pg_temp.items(), array['a_found', 'a_open'], 'somebody else would see other sources');
select tests.sign_in('b_member');
select is(pg_temp.items(), '{}', 'another tenant none');
select is(tests.outcome($$select ai.claim_enrichment(gen_random_uuid(), 'x')$$), '42501', 'people do no work of the worker''s');
select tests.as_service();
select is(pg_temp.store('first', 'a_open'), true, 'an answer is stored');
select is(pg_temp.store('first', 'a_boss', code => 'invalid_answer'), true, 'and why there is none');
select is(pg_temp.store('first', 'b_open'), true, 'what is of another tenant is passed over');
select tests.as_superuser();
select is((select count(*) from ai.enrichment_results where indexed_source_id = tests.id('indexed b_open')), 0::bigint, 'and has no result');
select tests.sign_in('admin');
select is(pg_temp.items(), array['a_found', 'a_named', 'a_team'], 'what has been asked is not asked again');
select results_eq('select * from pg_temp.state()', $$values ('enriching', 1::bigint, 1::bigint, 5::bigint)$$, 'how far it is');

-- One worker at a time
select tests.as_superuser();
update ai.enrichments set lease_expires_at = now() - interval '1 second' where id = pg_temp.enrichment();
delete from pgboss.job;
select tests.as_service();
select tests.keep('reservation', ai.reserve_enrichment_tokens(pg_temp.enrichment(), tests.kept_id('first'), 'm', 'p', 50, 100) ->> 'id') is not null;
select results_eq('select * from ai.due_enrichments()', 'select pg_temp.enrichment()', 'the sweep finds what a dead worker left');
select is(pg_temp.claim('second'), true, 'another one takes it up');
select is(pg_temp.store('first', 'a_team'), false, 'the late one stores nothing');
select is(ai.finish_enrichment(pg_temp.enrichment(), tests.kept_id('first')), false, 'and ends nothing');
select is(ai.renew_enrichment_lease(pg_temp.enrichment(), tests.kept_id('first')), false, 'its lease is gone');
select is(ai.reserve_enrichment_tokens(pg_temp.enrichment(), tests.kept_id('first'), 'm', 'p', 1, 1), null, 'it reserves nothing');
select is(ai.settle_tokens(tests.kept_id('reservation'), tests.kept_id('first'), null), false, 'what it had reserved is closed');
select tests.as_superuser();
select results_eq(
  $$select user_id, total_tokens, is_estimate from ai.usage_entries where kind = 'enrichment'$$, $$values (tests.person('admin'), 50::bigint, true)$$,
  'and counts as its prompt, for who asked'
);
select tests.as_service();
select is(ai.yield_enrichment(pg_temp.enrichment(), tests.kept_id('second')), true, 'with work left it goes to the end of the queue');
select is(pg_temp.claim('third'), true, 'and is taken up again');
select is(ai.finish_enrichment(pg_temp.enrichment(), tests.kept_id('third')), true, 'it ends');
select tests.sign_in('admin');
select results_eq('select * from pg_temp.state()', $$values ('completed_with_errors', 1::bigint, 1::bigint, 5::bigint)$$, 'with an error, to who can see it');
select tests.sign_in('viewer');
select results_eq('select * from pg_temp.state()', $$values ('completed', 1::bigint, 0::bigint, 4::bigint)$$, 'and without, to who cannot');

select * from finish();
rollback;
