-- Who may see a source, its pages, its index and its chunks, and that search agrees, after each change.
begin;
select plan(30);
select tests.make_world();

-- Everything of one source that `who` can reach, as letters: (s)ource, (p)ages, (i)ndexed source, (c)hunks, inde(x) row, (f)ound by search.
create function pg_temp.reach(who text, source text default 'a_open')
returns text
language plpgsql
as $$
declare
  result text;
begin
  perform tests.sign_in(who);
  select concat(
    (select 's' from ai.sources where id = tests.id('source ' || source)),
    (select 'p' from ai.source_pages where source_id = tests.id('source ' || source)),
    (select 'i' from ai.indexed_sources where source_id = tests.id('source ' || source)),
    (select 'c' from ai.chunks where source_id = tests.id('source ' || source)),
    (select 'x' from private.search_vectors where item_id = tests.id('chunk ' || source)),
    (select 'f' from ai.search('harbour tariff', source_ids => array[tests.id('source ' || source)]) where source_name = source)
  ) into result;
  return result;
end;
$$;
create function pg_temp.as_member(statement text) returns text language sql as $$
  select tests.sign_in('member');
  select tests.outcome(statement);
$$;

select is(pg_temp.reach('member'), 'spicxf', 'tenant: the owner');
select is(pg_temp.reach('viewer'), 'spicxf', 'tenant: everybody in the tenant');
select is(pg_temp.reach('b_owner'), '', 'tenant: nobody else');

select is(pg_temp.as_member($$update ai.sources set visibility = 'private' where name = 'a_open'$$), 'ok', 'made private');
select is(pg_temp.reach('member'), 'spicxf', 'private: the owner');
select is(pg_temp.reach('viewer'), '', 'private: nobody else');
select is(pg_temp.reach('owner'), '', 'private: not even the owner of the tenant');
select is(pg_temp.reach('backend_a'), 'spicxf', 'private: the tenant''s own backend');

select is(pg_temp.as_member($$update ai.sources set visibility = 'granted' where name = 'a_open'$$), 'ok', 'made granted, to nobody yet');
select is(pg_temp.reach('viewer'), '', 'granted: not without a grant');
select is(
  pg_temp.as_member(format(
    $$insert into ai.source_grants (tenant_id, source_id, group_id) values (%L, %L, '33333333-3333-4333-8333-333333333333')$$, tests.tenant('a'), tests.id('source a_open')
  )), 'ok', 'granted to a group'
);
select is(pg_temp.reach('viewer'), 'spicxf', 'granted: who is in the group');
select is(pg_temp.reach('both'), '', 'granted: not who is not');
select is(pg_temp.reach('admin'), '', 'granted: nor the admin');
select tests.as_superuser();
select is(
  (select array_agg(chunks.allowed_principals) from ai.chunks where source_id = tests.id('source a_open')),
  (select array_agg(sources.allowed_principals) from ai.sources where id = tests.id('source a_open')), 'the chunks carry the same grants'
);

delete from public.group_members where user_id = tests.person('viewer');
insert into public.group_members (tenant_id, group_id, user_id) values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('both'));
select is(pg_temp.reach('viewer'), '', 'out of the group: out of the source');
select is(pg_temp.reach('both'), 'spicxf', 'into the group: into the source');

select is(
  pg_temp.as_member(format(
    $$insert into ai.source_grants (tenant_id, source_id, user_id) values (%L, %L, %L)$$, tests.tenant('a'), tests.id('source a_open'), tests.person('admin')
  )), 'ok', 'granted to a person as well'
);
select is(pg_temp.reach('admin'), 'spicxf', 'granted: the person');
select is(pg_temp.as_member($$delete from ai.source_grants where user_id is not null$$), 'ok', 'taken back');
select is(pg_temp.reach('admin'), '', 'not any more');
select is(pg_temp.reach('both'), 'spicxf', 'the other grant holds');

-- A grant opens nothing that is not `granted`.
select is(pg_temp.as_member($$update ai.sources set visibility = 'private' where name = 'a_open'$$), 'ok', 'private again');
select is(pg_temp.reach('both'), '', 'grants of a private source count for nothing');
-- A grantee who leaves the tenant.
select tests.as_superuser();
update ai.sources set visibility = 'granted' where id = tests.id('source a_open');
delete from public.groups where tenant_id = tests.tenant('a');
select is(pg_temp.reach('both'), '', 'a group that is deleted takes its grants along');
select tests.as_superuser();
select is((select allowed_principals from ai.sources where id = tests.id('source a_open')), '{}'::uuid[], 'also from the row');

-- Whose a source is that everybody sees moves nothing in the index; from then on whose it is counts.
update ai.sources set visibility = 'tenant', owner_id = tests.person('member') where id = tests.id('source a_open');
create temp table rows_before as
select item_id, ctid::text as place from private.search_lexemes where source_id = tests.id('source a_open');
update ai.sources set owner_id = tests.person('admin') where id = tests.id('source a_open');
select ok((select count(*) > 0 from rows_before), 'it is in the index');
select is_empty(
  $$select item_id from rows_before left join private.search_lexemes using (item_id) where search_lexemes.ctid::text is distinct from place$$,
  'a source of everybody gets another owner: its rows stay where they are'
);
select is((select array_agg(distinct owner_id) from ai.chunks where source_id = tests.id('source a_open')), array[tests.person('admin')], 'its chunks know it');
update ai.sources set visibility = 'private' where id = tests.id('source a_open');
select is(
  (
    select array_agg(distinct search_segments.owner_id)
    from private.search_lexemes join private.search_segments on search_segments.id = search_lexemes.segment_id
    where search_lexemes.source_id = tests.id('source a_open')
  ),
  array[tests.person('admin')], 'and once it is private, it is found by them'
);

select * from finish();
rollback;
