-- Tables of contents show what the caller may read at that moment, in the order of the documents, and read no more than these.
begin;
select plan(34);
select tests.make_source('a_open', 'a', 'member', 'tenant');
select tests.make_source('a_private', 'a', 'admin', 'private');
select tests.make_source('b_open', 'b', null, 'tenant');
select tests.keep('base', (select id from ai.knowledge_bases where tenant_id = tests.tenant('a') and is_default)::text);
select tests.keep('base_b', (select id from ai.knowledge_bases where tenant_id = tests.tenant('b') and is_default)::text);
update ai.sources set created_at = now() - interval '1 day', metadata = '{"kind": "law"}' where id = tests.id('source a_open');

-- Chunks of a source instead of its one: each as {"text": ..., "meta": ...}.
create function pg_temp.rewrite(name text, parts jsonb) returns void language sql as $$
  delete from ai.chunks where source_id = tests.id('source ' || rewrite.name);
  insert into ai.chunks (
    tenant_id, indexed_source_id, knowledge_base_id, source_id, owner_id, visibility, text, chunk_index, start_char, end_char, tokens, meta, embedding_model
  )
  select
    indexed.tenant_id, indexed.id, indexed.knowledge_base_id, indexed.source_id, sources.owner_id, sources.visibility, part ->> 'text',
    (place - 1)::int, (place * 100)::int, (place * 100)::int + char_length(part ->> 'text'), 7, coalesce(part -> 'meta', '{}'), 'bulkhead-hash-384'
  from jsonb_array_elements(parts) with ordinality as parts (part, place), ai.indexed_sources as indexed join ai.sources on sources.id = indexed.source_id
  where indexed.id = tests.id('indexed ' || rewrite.name);
$$;
select pg_temp.rewrite('a_open', '[
  {"text": "Foreword.", "meta": {"pages": [1], "heading_path": []}},
  {"text": "Of berths.", "meta": {"pages": [1], "heading_path": ["Law", "Berths"], "section_summary": "Who may berth."}},
  {"text": "More of berths.", "meta": {"pages": [1, 2], "heading_path": ["Law", "Berths"]}},
  {"text": "Of cranes.", "meta": {"pages": [3], "heading_path": ["Law", "Cranes"]}},
  {"text": "Berths again.", "meta": {"pages": [3], "heading_path": ["Law", "Berths"]}}
]');
select pg_temp.rewrite('a_private', '[
  {"text": "One.", "meta": {"pages": [1], "heading_path": []}},
  {"text": "Two.", "meta": {"pages": [1, 2], "heading_path": []}},
  {"text": "Three.", "meta": {"pages": [2], "heading_path": []}},
  {"text": "Odd."}
]');
create function pg_temp.outlined(base text default 'base') returns text language sql as $$
  select string_agg(source_name, ' ') from ai.outline_sources(array[tests.kept_id(base)]);
$$;
create function pg_temp.listed(variadic names text[]) returns setof text language sql as $$
  select format('%s %s-%s [%s] p%s-%s %s', source_name, first_index, last_index, array_to_string(heading_path, '>'), first_page, last_page, tokens)
  from ai.sections((select array_agg(tests.id('indexed ' || name)) from unnest(names) as name));
$$;

-- Documents.
select tests.sign_in('member');
select is(pg_temp.outlined(), 'a_open', 'a member is shown what the tenant sees');
select results_eq(
  $$select source_id, indexed_source_id, knowledge_base_id, page_count, headings, beginning from ai.outline_sources(array[tests.kept_id('base')])$$,
  $$values (tests.id('source a_open'), tests.id('indexed a_open'), tests.kept_id('base'), 1, array['Law > Berths', 'Law > Cranes'], 'Foreword.')$$,
  'with its headings and how it begins'
);
select is(pg_temp.outlined('base_b'), null, 'another tenant''s knowledge base has nothing for them');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], source_ids => array[tests.id('source a_private')])), 0::bigint, 'nor has a colleague''s private document, named or not');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], filter_metadata => '{"kind": "law"}')), 1::bigint, 'metadata filters');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], filter_metadata => '{"kind": "x"}')), 0::bigint, 'by value');
select tests.sign_in('admin');
select is(pg_temp.outlined(), 'a_private a_open', 'the owner of a private document is shown it, newest first');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], row_limit => 1)), 1::bigint, 'as many as asked for');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], row_limit => -1)), 0::bigint, 'not fewer than none');
select is((select count(*) from ai.outline_sources(array[tests.kept_id('base')], source_ids => '{}')), 0::bigint, 'no source named is none');
select is((select beginning from ai.outline_sources(array[tests.kept_id('base')], array[tests.id('source a_private')])), 'One.', 'one without headings shows its words');

-- Sections.
select tests.sign_in('member');
select results_eq(
  $$select * from pg_temp.listed('a_open')$$,
  array['a_open 0-0 [] p1-1 7', 'a_open 1-2 [Law>Berths] p1-2 14', 'a_open 3-3 [Law>Cranes] p3-3 7', 'a_open 4-4 [Law>Berths] p3-3 7'],
  'sections are runs of chunks under one heading'
);
select results_eq(
  $$select summary, beginning, section_count from ai.sections(array[tests.id('indexed a_open')]) offset 1 limit 2$$,
  $$values ('Who may berth.', 'Of berths.', 4::bigint), (null, 'Of cranes.', 4)$$,
  'with the summary, if there is one, and the first words'
);
select is((select chunk_id from ai.sections(array[tests.id('indexed a_open')]) offset 1 limit 1), (select id from ai.chunks where text = 'Of berths.'), 'and the first chunk');
select results_eq(
  $$select first_index, section_count from ai.sections(array[tests.id('indexed a_open')], array(select id from ai.chunks where text = 'More of berths.'))$$,
  $$values (1, 4::bigint)$$,
  'asked for by a chunk it is the one that holds it'
);
select is((select count(*) from ai.sections(array[tests.id('indexed a_open')], chunk_ids => '{}')), 0::bigint, 'by none it is none');
select is((select count(*) from ai.sections(array[tests.id('indexed a_open')], row_limit => 2)), 2::bigint, 'as many as asked for');
select is_empty($$select * from pg_temp.listed('a_private', 'b_open')$$, 'of documents of others there are none');
select is_empty(
  $$select * from ai.sections(array[tests.id('indexed a_private')], array[(select id from ai.chunks where text = 'Two.')])$$,
  'whatever they are asked for by'
);
select tests.sign_in('admin');
select results_eq(
  $$select * from pg_temp.listed('a_private', 'a_open') limit 4$$,
  array['a_private 0-1 [] p1-2 14', 'a_private 2-2 [] p2-2 7', 'a_private 3-3 [] p- 7', 'a_open 0-0 [] p1-1 7'],
  'a document without headings has its pages as sections, and documents come in the order given'
);
select tests.sign_in('b_owner');
select is(pg_temp.outlined('base_b'), 'b_open', 'another tenant is shown its own');
select is_empty($$select * from pg_temp.listed('a_open')$$, 'and no section of ours');
select tests.as_anon();
select is(tests.outcome($$select ai.sections('{}')$$), '42501', 'nobody in particular may ask for sections');
select is(tests.outcome($$select ai.outline_sources('{}')$$), '42501', 'nor for documents');
select tests.as_service();
select is(tests.outcome($$select ai.sections('{}')$$), '42501', 'nor may the secret key');
select is(tests.outcome($$select ai.outline_sources('{}')$$), '42501', 'for either');

-- A membership and a visibility end at the next statement.
select tests.as_superuser();
update ai.sources set visibility = 'private' where id = tests.id('source a_open');
select tests.sign_in('viewer');
select is(pg_temp.outlined(), null, 'what has become private is shown to others no more');
select tests.sign_in('member');
select is((select count(*) from pg_temp.listed('a_open')), 4::bigint, 'to its owner it is');
select tests.as_superuser();
delete from public.memberships where user_id = tests.person('member') and tenant_id = tests.tenant('a');
select tests.sign_in('member');
select is_empty($$select * from pg_temp.listed('a_open')$$, 'until they have left');
select is(pg_temp.outlined(), null, 'altogether');

-- However many chunks there are, those of the documents asked for are read, by their index.
select tests.as_superuser();
select tests.make_source('b_' || part, 'b', null) from generate_series(1, 60) as part;
insert into ai.chunks (tenant_id, indexed_source_id, knowledge_base_id, source_id, visibility, text, chunk_index, start_char, end_char, tokens, embedding_model)
select tenant_id, id, knowledge_base_id, source_id, 'tenant', 'x', part, 0, 1, 1, 'm'
from ai.indexed_sources, generate_series(1, 30) as part
where tenant_id = tests.tenant('b') and id <> tests.id('indexed b_open');
analyze ai.chunks;
create function pg_temp.reads() returns bigint language sql as $$
  select sum(pg_stat_get_xact_tuples_returned(oid))::bigint
  from (select 'ai.chunks'::regclass::oid as oid union all select indexrelid from pg_index where indrelid = 'ai.chunks'::regclass) as parts;
$$;
select tests.sign_in('admin');
select tests.keep('reads', (select pg_temp.reads())::text);
select results_eq($$select count(*) from pg_temp.listed('a_private')$$, array[3::bigint], 'sections of one document among many chunks');
select cmp_ok((select pg_temp.reads()) - tests.kept('reads')::bigint, '<', 60::bigint, 'are found by reading its own');

-- However many are named, each is read once.
select tests.sign_in('member');
select is(
  (select count(*) from ai.sections(array_fill(tests.id('indexed a_open'), array[20000]))), (select count(*) from ai.sections(array[tests.id('indexed a_open')])),
  'a source that is named many times is listed once'
);
select is_empty(
  $$select from ai.sections(array_fill(gen_random_uuid(), array[50]) || tests.id('indexed a_open'))$$, 'of more than fifty names the first count'
);

select * from finish();
rollback;
