-- Models that are asked while a source is indexed are on the budget of whoever put it there, not of a colleague whose document it is.
begin;
select plan(13);
select tests.make_world();
delete from ai.budgets;
delete from ai.usage_entries;
delete from private.token_reservations;
insert into ai.budgets (id, tenant_id, scope, period, max_tokens)
values (tests.id('budget of each'), tests.tenant('a'), 'user', 'day', 1000);
update ai.sources set owner_id = tests.person('member') where id = tests.id('source a_open');
insert into ai.knowledge_bases (id, tenant_id, name, created_by) values (tests.id('greedy'), tests.tenant('a'), 'Greedy', tests.person('admin'));

create function pg_temp.call() returns text language plpgsql security definer as $$
declare
  answer text;
begin
  update ai.indexed_sources
  set index_status = 'indexing', lease_token = gen_random_uuid(), lease_expires_at = now() + interval '1 minute'
  where knowledge_base_id = tests.id('greedy');
  return (
    select coalesce(ai.reserve_indexing_tokens(id, lease_token, 'm', 'p', 10, 90) ->> 'max_tokens', 'lost')
    from ai.indexed_sources where knowledge_base_id = tests.id('greedy')
  );
end;
$$;
create function pg_temp.held() returns setof text language sql security definer as $$
  select people.name || ' ' || (used_tokens + reserved_tokens)
  from private.budget_counters
  join (values ('member', tests.person('member')), ('admin', tests.person('admin'))) as people (name, id) on people.id = budget_counters.subject_id
  where used_tokens + reserved_tokens > 0;
$$;

select tests.sign_in('admin');
select is(
  ai.add_source_to_knowledge_base(tests.id('greedy'), tests.id('source a_open')) ->> 'source_id', tests.id('source a_open')::text,
  'somebody puts what they may read of a colleague''s into a knowledge base'
);
select ok(
  not ai.add_source_to_knowledge_base(tests.id('greedy'), tests.id('source a_open')) ? 'requested_by', 'who it was is not in the answer'
);
select is(tests.outcome('select requested_by from ai.indexed_sources'), '42501', 'nor for anybody to read');
select tests.as_superuser();
select is(pg_temp.call(), '90', 'a model is asked');
select set_eq('select pg_temp.held()', array['admin 100'], 'on the budget of whoever put it there');

select tests.sign_in('member');
select ai.add_source_to_knowledge_base(tests.id('greedy'), tests.id('source a_open')) is not null;
select tests.as_superuser();
select pg_temp.call() is not null;
select set_eq('select pg_temp.held()', array['admin 10', 'member 100'], 'then of whoever has it indexed anew');

-- Of what somebody else has put there, the owner has it indexed anew as well, with the text or without.
select tests.sign_in('admin');
select ai.add_source_to_knowledge_base(tests.id('greedy'), tests.id('source a_open')) is not null;
select tests.sign_in('member');
select isnt(ai.reextract_source(tests.id('source a_open')), null, 'the owner has the document extracted anew');
select tests.as_superuser();
select pg_temp.call() is not null;
select set_eq('select pg_temp.held()', array['admin 10', 'member 110'], 'and pays for what is asked about it');
update ai.sources set extraction_status = 'extracted', extracted_at = now() where id = tests.id('source a_open');
update ai.indexed_sources set requested_by = tests.person('admin'), index_status = 'cancelled', lease_token = null, lease_expires_at = null
where knowledge_base_id = tests.id('greedy');
select tests.sign_in('member');
select isnt(ai.retry_source(tests.id('source a_open')), null, 'or tries again what a colleague has begun');
select tests.as_superuser();
select pg_temp.call() is not null;
select set_eq('select pg_temp.held()', array['admin 10', 'member 120'], 'and pays for that');

delete from public.memberships where tenant_id = tests.tenant('a') and user_id = tests.person('admin');
update ai.indexed_sources set requested_by = tests.person('admin') where knowledge_base_id = tests.id('greedy');
select is(pg_temp.call(), '90', 'of one who has left nothing is used');
select set_eq('select pg_temp.held()', array['admin 10', 'member 130'], 'but of the owner of the source');
update ai.indexed_sources set requested_by = null where knowledge_base_id = tests.id('greedy');
select pg_temp.call() is not null;
select set_eq('select pg_temp.held()', array['admin 10', 'member 140'], 'as when a backend has put it there');

select * from finish();
rollback;
