-- Where records are made from images of pages, indexing waits until they are drawn, is given them, and does without where nobody draws.
begin;
select plan(23);
select tests.make_world();
select tests.keep('id', tests.id('source a_open')::text);
select tests.keep('indexed', tests.id('indexed a_open')::text);

create function pg_temp.configure(config jsonb) returns void language sql security definer as $$
  update ai.knowledge_bases set indexing_config = config
  where id = (select knowledge_base_id from ai.indexed_sources where id = tests.kept_id('indexed'));
  update ai.indexed_sources set index_status = 'pending', lease_token = null, leased_by = null, lease_expires_at = null
  where id = tests.kept_id('indexed');
$$;
create function pg_temp.claim() returns jsonb language sql as $$ select ai.claim_indexing(tests.kept_id('indexed'), 'w'); $$;
create function pg_temp.want(asked_at timestamptz) returns void language sql security definer as $$
  select private.request_page_images(tests.kept_id('id'));
  update private.page_renderings set requested_at = asked_at where source_id = tests.kept_id('id');
$$;
create function pg_temp.is_due() returns boolean language sql security definer as $$
  select exists (select from ai.due_ingestion() as due where due.kind = 'indexing' and due.id = tests.kept_id('indexed'));
$$;
create function pg_temp.jobs() returns int language sql security definer as $$
  select count(*)::int from pgboss.job where name = 'index_source' and data ->> 'id' = tests.kept('indexed');
$$;
create function pg_temp.forget_jobs() returns void language sql security definer as $$
  delete from pgboss.job;
  update ai.indexed_sources set last_dispatched_at = now() - interval '1 minute' where id = tests.kept_id('indexed');
$$;

update ai.sources set extraction_status = 'extracted', page_count = 2, derivatives = '{"image": []}' where id = tests.kept_id('id');
select tests.as_service();
select pg_temp.want(now());

select pg_temp.configure('{"strategy": "doc2json"}');
select isnt(pg_temp.claim(), null, 'records of text do not wait');
select pg_temp.configure('{"strategy": "chunk_embed", "use_images": true}');
select isnt(pg_temp.claim(), null, 'nor does another strategy');
select pg_temp.configure('{"strategy": "doc2json", "use_images": "yes"}');
select isnt(pg_temp.claim(), null, 'nor what is no setting');
select is(pg_temp.claim() ? 'page_images', null, 'a lease that is held is not claimed');

select pg_temp.configure('{"strategy": "doc2json", "use_images": false, "extra": {"use_images": true}}');
select isnt(pg_temp.claim(), null, 'nor what is switched off, whatever is under extra');
select pg_temp.configure('{"strategy": "doc2json", "extra": {"use_images": true}}');
select is(pg_temp.claim(), null, 'records of images do, wherever the setting is');
select pg_temp.configure('{"strategy": "doc2json", "use_images": true}');
select is(pg_temp.claim(), null, 'there as well');
select pg_temp.forget_jobs();
select is(pg_temp.is_due(), false, 'and the sweep leaves them to whoever draws');
select is(tests.keep('lease', ai.claim_page_rendering(tests.kept_id('id'), 'w', 10) ->> 'lease_token') <> '', true, 'somebody draws');
select is(pg_temp.claim(), null, 'they wait on');
select is(pg_temp.jobs(), 0, 'and nobody is told');
select is(
  ai.finish_page_rendering(tests.kept_id('id'), tests.kept_id('lease'), '[{"page": 1, "width": 10, "height": 20, "dpi": 72}]'), true, 'it is drawn'
);
select is(pg_temp.jobs(), 1, 'at once they are queued');
select is(jsonb_path_query_array(pg_temp.claim(), '$.page_images[*].page'), '[1]', 'and given along');
select pg_temp.configure('{"strategy": "doc2json", "extra": {"use_images": true}}');
select is(jsonb_path_query_array(pg_temp.claim(), '$.page_images[*].page'), '[1]', 'with the setting in the other place, too');
select pg_temp.configure('{"strategy": "chunk_embed", "use_images": true}');
select is(pg_temp.claim() ? 'page_images', false, 'not to another strategy');
select pg_temp.configure('{"strategy": "doc2json"}');
select is(pg_temp.claim() ? 'page_images', false, 'to whoever wants it only');

select pg_temp.configure('{"strategy": "doc2json", "use_images": true}');
select pg_temp.want(now() - interval '31 minutes');
select pg_temp.forget_jobs();
select is(pg_temp.is_due(), true, 'the sweep asks for them where nobody draws,');
select isnt(pg_temp.claim(), null, 'for half an hour at most');
select pg_temp.want(now());
select pg_temp.configure('{"strategy": "doc2json", "extra": {"use_images": true}}');
select tests.keep('lease', ai.claim_page_rendering(tests.kept_id('id'), 'w', 10) ->> 'lease_token');
select is(pg_temp.claim(), null, 'anew');
select pg_temp.forget_jobs();
select is(ai.fail_page_rendering(tests.kept_id('id'), tests.kept_id('lease'), 'failed', 'corrupt_document'), true, 'until it has failed');
select is(pg_temp.jobs(), 1, 'at once again');
select isnt(pg_temp.claim(), null, 'then there is the text');
select * from finish();
rollback;
