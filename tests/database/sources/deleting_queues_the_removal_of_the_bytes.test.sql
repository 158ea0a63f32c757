-- However a source goes, its object follows.
begin;
select plan(19);
select tests.make_world();
delete from private.object_removals;

create function pg_temp.removals() returns table (storage_path text) language sql security definer as $$
  select distinct object_removals.storage_path
  from private.object_removals
  join pgboss.job on job.name = 'remove_object' and job.data = jsonb_build_object('id', object_removals.id);
$$;
create function pg_temp.path_of(source text) returns text language sql as $$
  select tests.tenant(left(source, 1)) || '/' || tests.id('source ' || source) || '/' || source;
$$;

select tests.sign_in('member');
select isnt_empty($$delete from ai.sources where name = 'a_open' returning id$$, 'the owner deletes a source');
select set_eq('select * from pg_temp.removals()', array[pg_temp.path_of('a_open')], 'its object is to be removed');
select is_empty($$select id from ai.chunks where source_id = tests.id('source a_open')$$, 'its chunks are gone');
select is_empty($$select * from ai.search('harbour tariff', source_ids => array[tests.id('source a_open')])$$, 'it is not found any more');
select is_empty($$delete from ai.sources where name = 'a_found' returning id$$, 'what is nobody''s is not theirs to delete');
select tests.as_superuser();
select is_empty($$select item_id from private.search_vectors where item_id = tests.id('chunk a_open')$$, 'nor is there a vector');
select is_empty($$select text from private.staged_chunks where indexed_source_id = tests.id('indexed a_open')$$, 'nor anything staged');

-- An upload link of five minutes may be used after this, so the store is looked at again when it has run out.
select tests.as_superuser();
select results_eq(
  $$select job.start_after > now() from pgboss.job where job.name = 'remove_object' order by 1$$, array[false, true],
  'its object is removed now and once more when no link can be used'
);
select tests.make_source('a_old', 'a', 'member');
update ai.sources set created_at = now() - interval '1 day' where name = 'a_old';
delete from ai.sources where name = 'a_old';
select is(
  (select count(*)::int from private.object_removals where storage_path = pg_temp.path_of('a_old')), 1, 'for an old source once is enough'
);
delete from private.object_removals where storage_path = pg_temp.path_of('a_old');

-- Undone: nothing is removed.
select tests.sign_in('member');
select is(tests.outcome_undone($$delete from ai.sources where name = 'a_secret'$$), 'ok', 'a deletion that is rolled back');
select set_eq('select * from pg_temp.removals()', array[pg_temp.path_of('a_open')], 'removes no object');

select tests.as_service();
select tests.keep('removal', id::text) from private.object_removals;
select is(ai.claim_object_removal(tests.kept_id('removal')), jsonb_build_object('storage_path', pg_temp.path_of('a_open')), 'the worker is told the key');
select is(ai.claim_object_removal(tests.kept_id('removal')), jsonb_build_object('storage_path', pg_temp.path_of('a_open')), 'as often as it asks');
select lives_ok($$select ai.finish_object_removal(tests.kept_id('removal'))$$, 'until it says it is done');
select is(ai.claim_object_removal(tests.kept_id('removal')), null, 'then there is nothing to do');

-- The tenant goes.
select tests.as_superuser();
delete from private.object_removals;
select tests.keep('count', count(*)::text) from ai.sources where tenant_id = tests.tenant('b');
select tests.sign_in('b_owner');
select isnt_empty('delete from public.tenants returning id', 'an owner deletes the tenant');
select set_eq(
  'select * from pg_temp.removals()', array[pg_temp.path_of('b_open'), pg_temp.path_of('b_secret'), pg_temp.path_of('b_named'), pg_temp.path_of('b_found')],
  'all its objects follow'
);
select tests.as_superuser();
create function pg_temp.leftovers(relation text) returns int language plpgsql as $$
declare
  result int;
begin
  execute format('select count(*) from %s where tenant_id = %L', relation, tests.tenant('b')) into result;
  return result;
end;
$$;
select is_empty(
  $$
    select relation
    from tests.tables()
    where relation not in ('public.tenants', 'private.object_removals', 'private.burnt_tool_call_tokens', 'private.rate_counters', 'private.shipped_policies', 'ai.audit_events', 'private.audit_heads', 'private.audit_pending', 'private.queue_limits', 'private.sweeps') and pg_temp.leftovers(relation) > 0
  $$,
  'and no table holds a row of it'
);
select is((select count(*)::int from ai.sources where tenant_id = tests.tenant('a')), 7, 'the other tenant keeps its own');

select * from finish();
rollback;
