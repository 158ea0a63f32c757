-- ai.source_deletion() against what a deletion takes.
begin;
select plan(16);
select tests.make_world();
select tests.make_source('a_both', 'a', 'both', 'granted');
insert into ai.source_grants (tenant_id, source_id, user_id)
values (tests.tenant('a'), tests.id('source a_both'), tests.person('viewer')), (tests.tenant('a'), tests.id('source a_both'), tests.person('admin'));

-- For each person and each source they see: can_delete says what a delete would do.
create table pg_temp.foreseen (who text, source_id uuid, can_delete boolean, deletes boolean);
grant all on pg_temp.foreseen to authenticated;
do $$
declare
  who text;
  source record;
  is_gone boolean;
begin
  foreach who in array array['owner', 'admin', 'member', 'viewer', 'b_owner', 'b_member', 'both', 'outsider', 'backend_a'] loop
    perform tests.sign_in(who);
    for source in select sources.id from ai.sources loop
      is_gone := false;
      begin
        delete from ai.sources where sources.id = source.id;
        is_gone := found;
        raise exception 'undo' using errcode = 'UNDO0';
      exception when sqlstate 'UNDO0' then
        null;
      end;
      insert into pg_temp.foreseen select who, source.id, deletion.can_delete, is_gone from ai.source_deletion(source.id) as deletion;
    end loop;
  end loop;
end;
$$;
select tests.as_superuser();
select is_empty('select * from pg_temp.foreseen where can_delete <> deletes', 'can_delete is what delete does, for everybody and every source');
select ok((select count(*) filter (where can_delete) > 10 and count(*) filter (where not can_delete) > 5 from pg_temp.foreseen), 'in both directions');

-- Citations in the answers of two people.
insert into ai.message_citations (tenant_id, run_id, user_id, citation_key, source_id, text_excerpt)
select runs.tenant_id, runs.id, runs.user_id, 90, tests.id('source a_open'), 'x'
from ai.agent_runs as runs
where runs.tenant_id = tests.tenant('a') and runs.user_id is not null;
select tests.keep('citations', (select count(*)::text from ai.message_citations where source_id = tests.id('source a_open') and user_id = tests.person('member')));
select ok((select count(distinct user_id) >= 2 from ai.message_citations where source_id = tests.id('source a_open')), 'several people have cited it');

select tests.sign_in('member');
select results_eq(
  $$select name, size_bytes, can_delete, pages, chunks, grants, citations from ai.source_deletion(tests.id('source a_open'))$$,
  $$values ('a_open', 10::bigint, true, 1::bigint, 1::bigint, 0::bigint, tests.kept('citations')::bigint)$$,
  'what goes with a source; citations are counted in one''s own answers only'
);
select is(
  (select knowledge_bases from ai.source_deletion(tests.id('source a_open'))),
  (select jsonb_agg(jsonb_build_object('id', id, 'name', name)) from ai.knowledge_bases where tenant_id = tests.tenant('a') and is_default),
  'and from where'
);
select is((select grants from ai.source_deletion(tests.id('source a_named'))), 1::bigint, 'who it was granted to');
-- It is what a deletion takes.
select tests.keep('statement', $$select
  (select count(*) from ai.source_pages where source_id = tests.id('source a_open')) + (select count(*) from ai.chunks where source_id = tests.id('source a_open'))
  + (select count(*) from ai.indexed_sources where source_id = tests.id('source a_open')) + (select count(*) from ai.message_citations where source_id = tests.id('source a_open'))$$);
delete from ai.sources where id = tests.id('source a_open');
select tests.as_superuser();
select is((select count(*)::int from ai.source_pages where source_id = tests.id('source a_open')), 0, 'its pages are gone');
select is((select count(*)::int from ai.chunks where source_id = tests.id('source a_open')), 0, 'its chunks are');
select is((select count(*)::int from ai.message_citations where citation_key = 90 and source_id is null and text_excerpt = 'x' and user_id = tests.person('member')) > 0, true, 'the citations stay without it');

select tests.sign_in('admin');
select is(tests.outcome($$select * from ai.source_deletion(tests.id('source a_secret'))$$), 'PT404 not_found', 'what one does not see is answered');
select tests.keep('answer', tests.kept('last_message'));
select is(tests.outcome($$select * from ai.source_deletion(tests.id('source b_open'))$$), 'PT404 not_found', 'like what is elsewhere');
select is(tests.outcome('select * from ai.source_deletion(gen_random_uuid())'), 'PT404 not_found', 'and what is not there');
select is(tests.kept('last_message'), tests.kept('answer'), 'in the same words');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member');
select tests.sign_in('member');
select is(tests.outcome($$select * from ai.source_deletion(tests.id('source a_secret'))$$), 'PT404 not_found', 'who was removed sees not even what was their own');
select tests.as_anon();
select is(tests.outcome($$select * from ai.source_deletion(tests.id('source a_found'))$$), '42501', 'who is not signed in may not ask');
select tests.as_service();
select is(tests.outcome($$select * from ai.source_deletion(tests.id('source a_found'))$$), '42501', 'nor the bare secret key');

select * from finish();
rollback;
