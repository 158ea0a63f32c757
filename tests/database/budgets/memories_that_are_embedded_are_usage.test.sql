-- The vector of a memory is usage of whom the memory belongs to, written where the vector is stored; budgets are about chat models.
begin;
select plan(10);
select tests.make_world();
delete from public.memories;
delete from ai.usage_entries;
insert into public.memories (id, tenant_id, user_id, body)
values
  (tests.id('memory own'), tests.tenant('a'), tests.person('member'), 'Likes mountains.'),
  (tests.id('memory shared'), tests.tenant('a'), null, 'No'),
  (tests.id('memory foreign'), tests.tenant('b'), null, repeat('x', 41));
create function pg_temp.store(name text, model text default 'm1', body text default null) returns boolean language sql as $$
  select ai.store_memory_vector(
    tests.id('memory ' || name), md5(coalesce(store.body, (select memories.body from public.memories where memories.id = tests.id('memory ' || name)))),
    model, tests.axis(1)::jsonb
  );
$$;
create function pg_temp.used(tenant text) returns text language sql as $$
  select coalesce(string_agg(concat_ws(' ', kind, model, total_tokens, prompt_tokens, is_estimate), ', ' order by total_tokens), 'nothing')
  from ai.usage_entries
  where tenant_id = tests.tenant(tenant);
$$;

select tests.as_service();
select is(pg_temp.store('own'), true, 'a vector is stored');
select is(pg_temp.used('a'), 'embedding m1 4 4 t', 'and what it took is written down, a quarter of its characters');
select is(
  (select user_id from ai.usage_entries where tenant_id = tests.tenant('a')), tests.person('member'), 'of the person whose memory it is'
);
select is(pg_temp.store('shared'), true, 'the memory of a tenant');
select is((select user_id from ai.usage_entries where total_tokens = 1), null, 'is nobody''s, and takes one token at least');
select is(pg_temp.store('foreign'), true, 'what another tenant has embedded');
select is(pg_temp.used('a') || ' / ' || pg_temp.used('b'), 'embedding m1 1 1 t, embedding m1 4 4 t / embedding m1 11 11 t', 'is the other''s usage');
select is(pg_temp.store('own', 'm2'), false, 'a vector of another model is refused');
select is(pg_temp.store('own', 'm1', 'Liked mountains.'), false, 'one of a text that is no more, too');
select is(
  pg_temp.used('a'), 'embedding m1 1 1 t, embedding m1 4 4 t, embedding m2 4 4 t',
  'that of another model was computed all the same; what the other text took, nobody knows any more'
);

select * from finish();
rollback;
