-- Changing the settings of a knowledge base leaves what is indexed as it is; which sources that concerns can be asked.
begin;
select plan(30);
select tests.make_world();
select tests.keep('base', (select knowledge_base_id::text from ai.indexed_sources where id = tests.id('indexed a_open')));
update ai.indexed_sources set indexing_config_snapshot = '{"strategy": "chunk_embed", "chunk_size": 400, "overlap": 50}'
where source_id in (tests.id('source a_open'), tests.id('source a_secret'));

-- What the person is told when the knowledge base has these settings.
create function pg_temp.drift(who text, config jsonb)
returns int
language plpgsql
as $$
declare
  drift jsonb;
begin
  perform tests.as_superuser();
  update ai.knowledge_bases set indexing_config = config where id = tests.kept_id('base');
  perform tests.sign_in(who);
  drift := ai.drifted_sources(tests.kept_id('base'));
  if (drift ->> 'count')::int <> jsonb_array_length(drift -> 'indexed_source_ids') then
    raise exception 'not as many ids as sources: %', drift;
  end if;
  return (drift ->> 'count')::int;
end;
$$;
create function pg_temp.index_with(config jsonb) returns void language plpgsql as $$
begin
  perform tests.as_superuser();
  update ai.indexed_sources set indexing_config_snapshot = config where id = tests.id('indexed a_open');
  update ai.indexed_sources set indexing_config_snapshot = null where id = tests.id('indexed a_secret');
end;
$$;

select is(pg_temp.drift('member', '{"strategy": "chunk_embed", "chunk_size": 400, "overlap": 50}'), 0, 'nothing with the same settings');
select is(pg_temp.drift('member', '{"chunk_size": 200}'), 2, 'all that the person sees with another size of chunks');
select is(pg_temp.drift('viewer', '{"chunk_size": 200}'), 1, 'and none that they do not see');
select is(pg_temp.drift('b_member', '{"chunk_size": 200}'), 0, 'least of all another tenant''s');
select is(pg_temp.drift('member', '{}'), 0, 'what is absent is its default');
select is(pg_temp.drift('member', '{"strategy": "full_document"}'), 0, 'whole documents are made of the same chunks');
select is(pg_temp.drift('member', '{"strategy": "full_document", "summary_model": "x"}'), 2, 'but for a summary');
select is(pg_temp.drift('member', '{"strategy": "chunk_embed", "summary_model": "x"}'), 0, 'which passages alone do not have');
select is(pg_temp.drift('member', '{"strategy": "page_index"}'), 2, 'another strategy that adds something');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": []}}'), 2, 'or divides in another way');
select is(jsonb_array_length(ai.drifted_sources(tests.kept_id('base'), 1) -> 'indexed_source_ids'), 1, 'of many the ids of the first');

select pg_temp.index_with('{"strategy": "page_index", "chunk_size": 400, "overlap": 50, "extra": {"if_add_node_summary": "no"}}');
select is(pg_temp.drift('member', '{"strategy": "page_index", "if_add_node_summary": "no"}'), 0, 'the same setting in the other place');
select is(pg_temp.drift('member', '{"strategy": "page_index"}'), 1, 'and its default, which is another');
select pg_temp.index_with('{"strategy": "doc2json", "json_schema": {"fields": [1]}, "window_size": 4000, "window_overlap": 200}');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "pages_per_window": 9, "chunk_size": 1}'), 0, 'what a record is not made by');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "use_images": true}'), 1, 'one made of images');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [2]}}'), 1, 'another form');
select pg_temp.index_with('{"strategy": "graph_index", "chunk_size": 400, "overlap": 50}');
select is(pg_temp.drift('member', '{"strategy": "graph_index", "if_add_node_summary": "no"}'), 0, 'nodes without a summary, asked for or not');
select is(pg_temp.drift('member', '{"strategy": "graph_index", "extra": {"if_add_node_summary": "yes"}}'), 1, 'and with one');
select pg_temp.index_with('{"strategy": "doc2json", "json_schema": {"fields": [1]}, "use_images": true, "window_size": 4000}');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "use_images": true, "pages_per_window": 5}'), 1, 'other windows of images');

-- Rows that were not written by the API may have what a model is asked for in the other place: indexing reads it there.
select is(
  pg_temp.drift('member', '{"strategy": "doc2json", "extra": {"json_schema": {"fields": [1]}, "use_images": true}}'), 0, 'the form and the images, there or here'
);
select is(pg_temp.drift('member', '{"strategy": "doc2json", "extra": {"json_schema": {"fields": [1]}, "use_images": true, "pages_per_window": 5}}'), 1, 'how many pages');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "use_images": false, "extra": {"use_images": true}}'), 1, 'what is beside it counts first');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "use_images": null, "extra": {"use_images": true}}'), 0, 'unless it is nothing');
select pg_temp.index_with('{"strategy": "doc2json", "json_schema": {"fields": [1]}}');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "extra": {"window_size": 4000, "model": null}}'), 0, 'the defaults');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "model": "x", "extra": {"extraction_model": "y"}}'), 1, 'a model');
select pg_temp.index_with('{"strategy": "doc2json", "json_schema": {"fields": [1]}, "extraction_model": "y"}');
select is(pg_temp.drift('member', '{"strategy": "doc2json", "json_schema": {"fields": [1]}, "model": "x", "extra": {"extraction_model": "y"}}'), 0, 'the model of that name first');
select pg_temp.index_with('{"strategy": "graph_index", "chunk_size": 400, "overlap": 50}');
select is(pg_temp.drift('member', '{"strategy": "graph_index", "extra": {"enrichment_model": "x"}}'), 1, 'or of that');
select pg_temp.index_with('{"strategy": "full_document", "chunk_size": 400, "overlap": 50}');
select is(pg_temp.drift('member', '{"strategy": "full_document", "extra": {"summary_model": "x"}}'), 1, 'a summary');

select tests.as_superuser();
update ai.indexed_sources set index_status = 'pending' where id = tests.id('indexed a_open');
select is(pg_temp.drift('member', '{}'), 0, 'what is not indexed has not drifted');
select tests.as_anon();
select is(tests.outcome(format('select ai.drifted_sources(%L)', tests.kept('base'))), '42501', 'nobody without a session asks');
select * from finish();
rollback;
