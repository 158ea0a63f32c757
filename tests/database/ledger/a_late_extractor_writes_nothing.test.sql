-- The lease of extraction: taken once, taken over when it has run out, and asked for in every write.
begin;
select plan(44);

create function pg_temp.state()
returns text
language sql
security definer
as $$ select concat_ws(' ', extraction_status, error_code, reason_code, attempts) from ai.sources where id = tests.kept_id('id'); $$;
create function pg_temp.claim(name text)
returns boolean
language sql
as $$ select tests.keep(name, ai.claim_extraction(tests.kept_id('id'), name) ->> 'lease_token') <> ''; $$;
create function pg_temp.expire() returns void language sql security definer as $$ update ai.sources set lease_expires_at = now() - interval '1 second' where id = tests.kept_id('id'); $$;

select tests.sign_in('member');
select tests.keep('base', id::text) from ai.knowledge_bases;
select tests.keep('id', ai.register_source('x.pdf', '.pdf', 'application/pdf', 5, repeat('a', 64), knowledge_base_ids => array[tests.kept_id('base')], origin => '{"source_type": "url"}') ->> 'id');
select tests.as_service();
select is(ai.claim_extraction(tests.kept_id('id'), 'early'), null, 'nothing to do before the bytes are there');
select tests.sign_in('member');
select ai.complete_upload(tests.kept_id('id'));
select tests.as_service();
select tests.keep('claim', ai.claim_extraction(tests.kept_id('id'), 'first')::text);
select is(tests.kept('claim')::jsonb ->> 'lost_holder', null, 'nobody had it before');
select set_eq(
  $$select jsonb_object_keys(tests.kept('claim')::jsonb)$$,
  array['lease_token', 'source_id', 'tenant_id', 'name', 'file_type', 'mime_type', 'size_bytes', 'content_hash', 'storage_path', 'attempts', 'lost_holder'],
  'a claim tells the worker all it needs'
);
select tests.keep('first', tests.kept('claim')::jsonb ->> 'lease_token');
select is(pg_temp.state(), 'extracting 1', 'the source is being extracted');
select is(pg_temp.claim('second'), false, 'by nobody else meanwhile');
select is(ai.save_source_pages(tests.kept_id('id'), tests.kept_id('first'), '[{"page_number": 1, "text": "one"}, {"page_number": 2, "text": "two"}]'), true, 'the holder writes');
select is(ai.save_source_pages(tests.kept_id('id'), gen_random_uuid(), '[{"page_number": 1, "text": "forged"}]'), false, 'who does not hold it does not');
select is(ai.renew_lease('extraction', tests.kept_id('id'), tests.kept_id('first')), true, 'the holder renews');
select is(ai.renew_lease('extraction', tests.kept_id('id'), gen_random_uuid()), false, 'others do not');
select is(tests.outcome(format('select ai.renew_lease(%L, %L, %L)', 'other', tests.kept('id'), tests.kept('first'))), '22023', 'a lease is for extraction or indexing');

select pg_temp.expire();
select tests.keep('takeover', ai.claim_extraction(tests.kept_id('id'), 'second')::text);
select tests.keep('second', tests.kept('takeover')::jsonb ->> 'lease_token');
select is(tests.kept('takeover')::jsonb ->> 'lost_holder', 'first', 'an expired lease is taken over, and whose it was is said');
select is(pg_temp.state(), 'extracting 2', 'and counted');
select is(ai.save_source_pages(tests.kept_id('id'), tests.kept_id('first'), '[{"page_number": 1, "text": "late"}]'), false, 'the late holder''s pages are refused');
select is(ai.renew_lease('extraction', tests.kept_id('id'), tests.kept_id('first')), false, 'its renewal');
select is(ai.finish_extraction(tests.kept_id('id'), tests.kept_id('first'), 9, '{}'), false, 'its end');
select is(ai.fail_extraction(tests.kept_id('id'), tests.kept_id('first'), 'failed', 'internal', 'x', 'x'), false, 'and its failure');
select is(ai.mark_dead_letter('extraction', tests.kept_id('id'), 'x'), false, 'nor does the dead letter end what is being worked on');
select is(pg_temp.state(), 'extracting 2', 'nothing of that is seen');
select set_eq($$select page_number, text from ai.source_pages where source_id = tests.kept_id('id')$$, $$values (1, 'one'), (2, 'two')$$, 'nor in the pages');

-- Given back, with a reason.
select is(
  ai.fail_extraction(tests.kept_id('id'), tests.kept_id('second'), 'pending', 'transient', 'storage_unavailable', 'The store did not answer.', now() + interval '1 minute'),
  true, 'an attempt that will be repeated'
);
select is(pg_temp.state(), 'pending transient storage_unavailable 2', 'waits, and says why');
select is(pg_temp.claim('third'), true, 'and can be taken again');
select is(pg_temp.state(), 'extracting 3', 'without the old reason');
select is(ai.save_source_pages(tests.kept_id('id'), tests.kept_id('third'), '[{"page_number": 1, "text": "once more"}]'), true, 'this time with one page');
select is(ai.finish_extraction(tests.kept_id('id'), tests.kept_id('third'), 1, '{"title": "X"}'), true, 'that is all of it');
select is(pg_temp.state(), 'extracted 3', 'it is extracted');
select set_eq($$select page_number, text from ai.source_pages where source_id = tests.kept_id('id')$$, $$values (1, 'once more')$$, 'pages beyond the end are gone');
select is((select derivatives -> 'page_text' -> 0 ->> 'page' from ai.sources where id = tests.kept_id('id')), '1', 'derivatives list the pages');
select is((select derivatives -> 'markdown' from ai.sources where id = tests.kept_id('id')), '[{"storage_path": null, "format": "md"}]'::jsonb, 'and the text as Markdown');
select is(
  (select auto_metadata from ai.sources where id = tests.kept_id('id')), '{"title": "X", "page_count": 1, "source_type": "url"}'::jsonb,
  'what was found out is added to what was known'
);
select tests.as_superuser();
select is(
  (
    select count(*)::int
    from pgboss.job
    join ai.indexed_sources on job.data ->> 'id' = indexed_sources.id::text
    where job.name = 'index_source' and indexed_sources.source_id = tests.kept_id('id')
  ),
  1, 'the indexing that waited for it is queued'
);
select tests.as_service();
select is(ai.finish_extraction(tests.kept_id('id'), tests.kept_id('third'), 7, '{}'), false, 'it ends once');
select is(pg_temp.claim('fourth'), false, 'and is not claimed again');
select is(ai.mark_dead_letter('extraction', tests.kept_id('id'), 'x'), false, 'nor buried');

-- Ends that need a reason.
select tests.as_superuser();
update ai.sources set extraction_status = 'pending', extracted_at = null where id = tests.kept_id('id');
select tests.as_service();
select pg_temp.claim('fifth');
select is(
  tests.outcome(format('select ai.fail_extraction(%L, %L, %L, null, null, null)', tests.kept('id'), tests.kept('fifth'), 'failed')), '23514', 'a failure without a reason is refused'
);
select is(
  tests.outcome(format('select ai.fail_extraction(%L, %L, %L, %L, null, %L)', tests.kept('id'), tests.kept('fifth'), 'extracted', 'internal', 'x')), '22023', 'success is no failure'
);
select is(
  tests.outcome(format('select ai.fail_extraction(%L, %L, %L, %L, null, %L)', tests.kept('id'), tests.kept('fifth'), 'failed', 'bad luck', 'x')), '23514', 'nor is an unknown code'
);
select is(ai.fail_extraction(tests.kept_id('id'), tests.kept_id('fifth'), 'attention_required', 'permanent', 'encrypted_document', repeat('x', 2000)), true, 'one that needs a person');
select is((select char_length(error_message) from ai.sources where id = tests.kept_id('id')), 1000, 'messages are cut');

-- The queue gives up.
select tests.as_superuser();
update ai.sources set extraction_status = 'pending', error_code = null, reason_code = null, error_message = null where id = tests.kept_id('id');
select tests.as_service();
select is(ai.mark_dead_letter('extraction', tests.kept_id('id'), ''), false, 'not while somebody has asked for it again');
select tests.as_superuser();
delete from pgboss.job;
select tests.as_service();
select is(ai.mark_dead_letter('extraction', tests.kept_id('id'), ''), true, 'what still waits is given up');
select alike(pg_temp.state(), 'failed internal dead_letter %', 'with a reason');
select tests.sign_in('member');
select ai.retry_source(tests.kept_id('id'));
select is(pg_temp.state(), 'pending 0', 'a retry begins with attempts to spare');

select tests.sign_in('member');
select is(tests.outcome(format('select ai.claim_extraction(%L, %L)', tests.kept('id'), 'me')), '42501', 'people take no leases');

select * from finish();
rollback;
