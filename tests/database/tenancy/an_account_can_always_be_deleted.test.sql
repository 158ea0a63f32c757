-- Deleting a person takes along what is theirs alone, leaves the tenant's documents, and is never stopped by them.
begin;
select plan(20);
select tests.make_world();

-- Two people who each hold a private copy of the same bytes: without them, both copies belong to nobody.
insert into ai.sources (id, tenant_id, owner_id, name, file_type, mime_type, size_bytes, content_hash, storage_path, visibility)
select
  tests.id('copy of ' || who), tests.tenant('a'), tests.person(who), 'copy.txt', '.txt', 'text/plain', 1, repeat('c', 64),
  tests.tenant('a') || '/' || tests.id('copy of ' || who) || '/copy.txt', 'private'
from unnest(array['member', 'viewer']) as who;

-- What they made or decided for others.
update ai.tools set created_by = tests.person('member') where id = tests.id('tool a');
update ai.approvals set status = 'approved', decided_by = tests.person('member'), decided_at = now() where id = tests.id('approval a_backend');

select lives_ok($$delete from auth.users where id = tests.person('member')$$, 'one person goes');
select lives_ok($$delete from auth.users where id = tests.person('viewer')$$, 'and the one with the same bytes');
select is_empty($$select user_id from public.memberships where user_id in (tests.person('member'), tests.person('viewer'))$$, 'no membership is left');
select is_empty($$select id from public.chat_sessions where title = 'a_member'$$, 'no chat');
select is_empty($$select id from ai.agent_sessions where session_id = 'a_member'$$, 'no session');
select is_empty($$select id from ai.agent_runs where model = 'a_member'$$, 'no run');
select is_empty($$select id from ai.tool_call_events where tool_name = 'a_member'$$, 'no call of a tool');
select is_empty($$select id from ai.approvals where tool_name = 'a_member'$$, 'no approval');
select is_empty($$select id from ai.context_handlers where query = 'a_member'$$, 'no retrieval');
select is((select status || coalesce(decided_by::text, '') from ai.approvals where id = tests.id('approval a_backend')), 'approved', 'what they decided is decided');
select is((select name || coalesce(created_by::text, '') from ai.tools where id = tests.id('tool a')), 'a_tool', 'what they made stays');
select is((select count(*)::int from ai.agent_tools where agent_id = tests.id('agent a')), 2, 'and so do the tools of their agents');
select is_empty($$select id from public.memories where user_id = tests.person('member')$$, 'no memory');
select is_empty($$select id from public.documents where owner_id = tests.person('member')$$, 'no claim on a source');
select is((select owner_id from ai.sources where name = 'a_open'), null, 'the source for everybody stays, nobody''s now');
select is((select owner_id from ai.chunks where id = tests.id('chunk a_open')), null, 'so do its chunks');

select tests.sign_in('owner');
select set_eq($$select name from ai.sources$$, array['a_open', 'a_found'], 'those who stay read it; what was private becomes nobody else''s');
select is_empty($$select id from ai.chunks where source_id = tests.id('source a_secret')$$, 'chunks neither');

select tests.as_service();
select isnt_empty($$delete from ai.sources where owner_id is null and visibility = 'private' and name = 'a_secret' returning id$$, 'the backend finds what was private, and deletes it');
select tests.as_superuser();
select isnt_empty(
  format($$select storage_path from private.object_removals where storage_path like '%%%s%%'$$, tests.id('source a_secret')), 'with its bytes'
);

select * from finish();
rollback;
