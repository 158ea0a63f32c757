-- What a source is granted to, and who may see its chunks, is copied once for all rows of a statement, also where a foreign key makes it.
begin;
select plan(12);
select tests.make_world();
insert into public.groups (id, tenant_id, name) values (tests.id('group two'), tests.tenant('a'), 'Two');

create view pg_temp.differences as
select 'a list that is not that of the grants' as what, sources.name
from ai.sources
where sources.allowed_principals <> array(select coalesce(user_id, group_id) from ai.source_grants where source_id = sources.id order by 1)
union all
select 'a chunk that is not as its source', sources.name
from ai.chunks
join ai.sources on sources.id = chunks.source_id
where (chunks.visibility, chunks.owner_id, chunks.allowed_principals) is distinct from (sources.visibility, sources.owner_id, sources.allowed_principals)
union all
select 'a chunk in a segment of others', chunks.id::text
from ai.chunks
left join private.search_lexemes on search_lexemes.item_id = chunks.id
left join private.search_segments on search_segments.id = search_lexemes.segment_id
where (search_segments.visibility, search_segments.owner_id, search_segments.allowed_principals) is distinct from (
    chunks.visibility, case when chunks.visibility <> 'tenant' then chunks.owner_id end, case when chunks.visibility = 'granted' then chunks.allowed_principals else '{}' end
  );
select is_empty('select * from pg_temp.differences', 'at the start');

insert into ai.source_grants (tenant_id, source_id, user_id)
select tests.tenant('a'), tests.id('source ' || source), tests.person(name)
from unnest(array['a_named', 'a_team', 'a_boss']) as source, unnest(array['both', 'owner']) as name;
insert into ai.source_grants (tenant_id, source_id, group_id) select tests.tenant('a'), tests.id('source ' || source), tests.id('group two') from unnest(array['a_team', 'a_boss']) as source;
select is_empty('select * from pg_temp.differences', 'several people are granted several sources');
select is((select cardinality(allowed_principals) from ai.sources where name = 'a_named'), 3, 'each of them');

update ai.source_grants set source_id = tests.id('source a_secret') where source_id = tests.id('source a_boss');
select is_empty('select * from pg_temp.differences', 'grants are moved to another source: the first has lost them');
update ai.source_grants set user_id = case user_id when tests.person('both') then tests.person('admin') else tests.person('viewer') end where user_id in (tests.person('both'), tests.person('owner'));
select is_empty('select * from pg_temp.differences', 'and are given to others');

update ai.sources
set visibility = case visibility when 'tenant' then 'granted' when 'private' then 'tenant' else 'private' end, owner_id = case when name = 'a_open' then tests.person('both') else owner_id end
where tenant_id = tests.tenant('a');
select is_empty('select * from pg_temp.differences', 'every source is shown to others than before');
update ai.sources set visibility = 'granted' where tenant_id = tests.tenant('a');
delete from ai.source_grants where user_id = tests.person('admin') and source_id <> tests.id('source a_team');
select is_empty('select * from pg_temp.differences', 'grants are taken back');

delete from public.memberships where tenant_id = tests.tenant('a') and user_id in (tests.person('viewer'), tests.person('member'));
select is_empty('select * from pg_temp.differences', 'members leave');
select is((select count(*)::int from ai.sources where tests.person('viewer') = any (allowed_principals)), 0, 'and are granted nothing any more');
delete from public.groups where tenant_id = tests.tenant('a');
select is_empty('select * from pg_temp.differences', 'groups go');
delete from auth.users where id in (tests.person('admin'), tests.person('both'));
select is_empty('select * from pg_temp.differences', 'people go, who had sources and were granted some');
delete from ai.sources where name in ('a_team', 'a_named');
select is_empty('select * from pg_temp.differences', 'sources go, with their grants');

select * from finish();
rollback;
