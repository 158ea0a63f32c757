-- ai.source_access() and ai.person_access() against what each person really gets from ai.sources.
begin;
select plan(35);
select tests.make_world();
-- Cases in which several reasons meet, and grants that count for nothing.
select tests.make_source('a_both', 'a', 'both', 'granted'), tests.make_source('a_dormant', 'a', 'admin', 'private');
insert into public.group_members (tenant_id, group_id, user_id)
values (tests.tenant('a'), '33333333-3333-4333-8333-333333333333', tests.person('both')) on conflict do nothing;
insert into ai.source_grants (tenant_id, source_id, user_id, group_id)
values
  (tests.tenant('a'), tests.id('source a_both'), tests.person('viewer'), null),
  (tests.tenant('a'), tests.id('source a_both'), null, '33333333-3333-4333-8333-333333333333'),
  (tests.tenant('a'), tests.id('source a_dormant'), tests.person('member'), null),
  (tests.tenant('a'), tests.id('source a_open'), tests.person('viewer'), null);

create table pg_temp.people (name text);
insert into pg_temp.people values ('owner'), ('admin'), ('member'), ('viewer'), ('b_owner'), ('b_member'), ('both'), ('outsider');
create table pg_temp.truth (name text, tenant_id uuid, source_id uuid);
create table pg_temp.told (asker text, name text, source_id uuid, by text);
create table pg_temp.outcomes (asker text, name text, tenant text, outcome text);
grant all on pg_temp.people, pg_temp.truth, pg_temp.told, pg_temp.outcomes to authenticated;

do $$
declare
  asker text;
  somebody text;
  source record;
  letter text;
begin
  for asker in select people.name from pg_temp.people loop
    perform tests.sign_in(asker);
    insert into pg_temp.truth select asker, sources.tenant_id, sources.id from ai.sources;
  end loop;
  for asker in select people.name from pg_temp.people loop
    perform tests.sign_in(asker);
    for source in select sources.id from ai.sources loop
      insert into pg_temp.told select asker, tests.name_of(access.user_id), source.id, 'source' from ai.source_access(source.id) as access;
    end loop;
    for somebody in select people.name from pg_temp.people loop
      foreach letter in array array['a', 'b'] loop
        begin
          insert into pg_temp.told
          select asker, somebody, access.source_id, 'person'
          from ai.person_access(tests.tenant(letter), tests.person(somebody), 500) as access;
          insert into pg_temp.outcomes values (asker, somebody, letter, 'ok');
        exception when sqlstate 'PT404' then
          insert into pg_temp.outcomes values (asker, somebody, letter, 'PT404');
        end;
      end loop;
    end loop;
  end loop;
end;
$$;
select tests.as_superuser();

select ok((select count(*) > 20 from pg_temp.truth), 'the world is large enough to differ in');
-- Everybody asks about every source they see: exactly those are named who really see it.
select set_eq(
  $$select asker, name, source_id from pg_temp.told where by = 'source'$$,
  $$
    select asking.name as asker, seeing.name, seeing.source_id
    from pg_temp.truth as asking
    join pg_temp.truth as seeing on seeing.source_id = asking.source_id
  $$,
  'source_access() names exactly those whose own select returns the source, whoever asks'
);
select set_eq(
  $$select asker, name, source_id from pg_temp.told where by = 'person'$$,
  $$
    select asking.name as asker, seeing.name, seeing.source_id
    from pg_temp.truth as asking
    join pg_temp.truth as seeing on seeing.source_id = asking.source_id
  $$,
  'person_access() names exactly what both the person and who asks get from a select'
);
select set_eq(
  $$select asker, name, tenant from pg_temp.outcomes where outcome = 'ok'$$,
  $$
    select askers.name as asker, people.name, tests.letter(mine.tenant_id) as tenant
    from pg_temp.people as askers
    join public.memberships as mine on mine.user_id = tests.person(askers.name)
    join public.memberships as theirs on theirs.tenant_id = mine.tenant_id
    join pg_temp.people as people on tests.person(people.name) = theirs.user_id
  $$,
  'one asks about colleagues only, everybody else is nobody'
);

-- Why.
create function pg_temp.why(source text, who text) returns text language sql as $$
  select string_agg(concat_ws(' ', reason.value ->> 'reason', reason.value ->> 'group_name'), ', ' order by reason.place)
  from ai.source_access(tests.id('source ' || source)) as access
  cross join lateral jsonb_array_elements(access.reasons) with ordinality as reason (value, place)
  where access.user_id = tests.person(who);
$$;
select tests.sign_in('admin');
select is(pg_temp.why('a_open', 'viewer'), 'tenant', 'as a member of the tenant; a grant adds nothing to that');
select is(pg_temp.why('a_open', 'member'), 'owner, tenant', 'as the owner too');
select is(pg_temp.why('a_team', 'viewer'), 'group Claims desk', 'as one of a group');
select is(pg_temp.why('a_named', 'member'), 'granted', 'by name');
select is(pg_temp.why('a_dormant', 'member'), null, 'a grant on a private source counts for nothing');
select is(pg_temp.why('a_dormant', 'admin'), 'owner', 'its owner sees it');
select tests.sign_in('viewer');
select is(pg_temp.why('a_both', 'viewer'), 'granted, group Claims desk', 'by name and as one of a group');
select is(pg_temp.why('a_both', 'both'), 'owner, group Claims desk', 'as the owner and as one of a group');
select results_eq(
  $$select email, role from ai.source_access(tests.id('source a_both'))$$, $$values ('both@bulkhead.example', 'member'), ('viewer@harbor.example', 'viewer')$$,
  'with address and role, the highest role first'
);

-- What one cannot see oneself is answered as what is not there.
select is(tests.outcome($$select * from ai.source_access(tests.id('source a_secret'))$$), 'PT404 not_found', 'a colleague''s private source');
select tests.keep('answer', tests.kept('last_message') || tests.kept('last_detail'));
select is(tests.outcome($$select * from ai.source_access(tests.id('source b_open'))$$), 'PT404 not_found', 'a source of another tenant');
select is(tests.kept('last_message') || tests.kept('last_detail'), tests.kept('answer'), 'in the same words');
select is(tests.outcome($$select * from ai.source_access(gen_random_uuid())$$), 'PT404 not_found', 'an unknown one');
select is(tests.kept('last_message') || tests.kept('last_detail'), tests.kept('answer'), 'in the same words again');
select is(tests.outcome($$select * from ai.source_access(null)$$), 'PT404 not_found', 'none');
select is(tests.outcome(format($$select * from ai.person_access(%L, %L)$$, tests.tenant('a'), tests.person('b_member'))), 'PT404 not_found', 'somebody of another tenant');
select tests.keep('answer', tests.kept('last_message') || tests.kept('last_detail'));
select is(tests.outcome(format($$select * from ai.person_access(%L, %L)$$, tests.tenant('b'), tests.person('b_member'))), 'PT404 not_found', 'or there');
select is(tests.outcome(format($$select * from ai.person_access(%L, %L)$$, tests.tenant('a'), gen_random_uuid())), 'PT404 not_found', 'nobody');
select is(tests.kept('last_message') || tests.kept('last_detail'), tests.kept('answer'), 'in the same words');

-- Pages, and about oneself.
select tests.as_superuser();
update ai.sources set created_at = '2026-01-01' where name in ('a_open', 'a_found');
select tests.sign_in('viewer');
create table pg_temp.pages as
with recursive pages as (
  (select 1 as page, access.* from ai.person_access(tests.tenant('a'), null, 1) as access)
  union all
  select pages.page + 1, access.*
  from pages
  cross join lateral ai.person_access(tests.tenant('a'), null, 1, pages.created_at, pages.source_id) as access
)
select * from pages;
select results_eq(
  'select source_id from pg_temp.pages order by page', $$select id from ai.sources where tenant_id = tests.tenant('a') order by created_at desc, id$$,
  'page by page everything is there once, in order'
);
select is((select count(distinct page)::int from pg_temp.pages), (select count(*)::int from ai.sources), 'one on each page');

-- People who left, headers, agents, nobody.
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('viewer');
select tests.sign_in('viewer');
select is(tests.outcome($$select * from ai.source_access(tests.id('source a_open'))$$), 'PT404 not_found', 'who was removed gets nothing explained');
select is(tests.outcome(format($$select * from ai.person_access(%L)$$, tests.tenant('a'))), 'PT404 not_found', 'not even about themselves');
select tests.sign_in('admin');
select is(pg_temp.why('a_team', 'viewer'), null, 'and is named no more, nor is their grant');
select is(tests.outcome(format($$select * from ai.person_access(%L, %L)$$, tests.tenant('a'), tests.person('viewer'))), 'PT404 not_found', 'and is nobody');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is(tests.outcome($$select * from ai.source_access(tests.id('source a_open'))$$), 'PT404 not_found', 'the header narrows');
select is(tests.outcome(format($$select * from ai.person_access(%L, %L)$$, tests.tenant('a'), tests.person('member'))), 'PT404 not_found', 'here too');
select tests.sign_in('backend_a');
select set_eq(
  $$select source_id from ai.person_access(tests.tenant('a'), tests.person('member'), 500)$$,
  $$select source_id from pg_temp.truth where name = 'member'$$, 'the backend is told all that a person sees'
);
select tests.as_anon();
select is(tests.outcome($$select * from ai.source_access(tests.id('source a_open'))$$), '42501', 'who is not signed in may not ask');

-- Policies of an app's own: rather nothing than something that is no longer so.
select tests.as_superuser();
create policy "everybody of the tenant" on ai.sources for select to authenticated using (true);
select tests.sign_in('admin');
select is(tests.outcome($$select * from ai.source_access(tests.id('source a_open'))$$), 'PT409 conflict', 'under other policies nothing is explained');
select is(tests.outcome(format($$select * from ai.person_access(%L)$$, tests.tenant('a'))), 'PT409 conflict', 'of a person neither');

select * from finish();
rollback;
