-- Images of pages: wanted when the text is there, made under a lease, listed all at once, and never left behind.
begin;
select plan(47);
delete from private.object_removals;
delete from pgboss.job;

create function pg_temp.images() returns jsonb language sql security definer as $$ select derivatives -> 'image' from ai.sources where id = tests.kept_id('id'); $$;
create function pg_temp.tenant() returns text language sql security definer as $$ select tenant_id::text from ai.sources where id = tests.kept_id('id'); $$;
create function pg_temp.noted() returns jsonb language sql security definer as $$ select auto_metadata -> 'page_images' from ai.sources where id = tests.kept_id('id'); $$;
create function pg_temp.state() returns text language sql security definer as $$ select concat_ws(' ', status, reason_code, attempts) from private.page_renderings where source_id = tests.kept_id('id'); $$;
create function pg_temp.expire() returns void language sql security definer as $$ update private.page_renderings set lease_expires_at = now() - interval '1 second' where source_id = tests.kept_id('id'); $$;
create function pg_temp.jobs() returns int language sql security definer as $$ select count(*)::int from pgboss.job where name = 'render_pages' and data ->> 'id' = tests.kept('id'); $$;
-- What is removed, and whether at once.
create function pg_temp.removed() returns table (path text, at_once boolean) language sql security definer as $$
  select unnest(array[removals.storage_path] || removals.more_paths), job.start_after <= now()
  from private.object_removals as removals
  join pgboss.job on job.name = 'remove_object' and job.data ->> 'id' = removals.id::text;
$$;
create function pg_temp.forget() returns void language sql security definer as $$ delete from private.object_removals; $$;
create function pg_temp.claim(name text) returns boolean language sql as $$
  select tests.keep(name, claim ->> 'lease_token') <> '' and tests.keep(name || '_paths', claim ->> 'image_paths') <> ''
  from (select ai.claim_page_rendering(tests.kept_id('id'), name, 3)) as answers (claim);
$$;
create function pg_temp.extract(is_wanted boolean, metadata jsonb default '{"document_type": "pdf"}') returns boolean language sql as $$
  select ai.finish_extraction(
    tests.kept_id('id'), (ai.claim_extraction(tests.kept_id('id'), 'w') ->> 'lease_token')::uuid, 5, metadata, is_wanted
  );
$$;
create function pg_temp.again() returns void language plpgsql as $$
begin
  perform tests.sign_in('member');
  perform ai.reextract_source(tests.kept_id('id'));
  perform tests.as_service();
end;
$$;

select tests.sign_in('member');
select tests.keep('id', ai.register_source('x.pdf', '.pdf', 'application/pdf', 5, repeat('a', 64)) ->> 'id');
select ai.complete_upload(tests.kept_id('id'));
select tests.as_service();
select is(pg_temp.extract(false), true, 'text without images');
select is(pg_temp.images(), '[]', 'lists none');
select is(pg_temp.noted(), null, 'says nothing of any');
select is(pg_temp.jobs(), 0, 'and queues nothing');
select is(ai.claim_page_rendering(tests.kept_id('id'), 'early', 3), null, 'nobody wants them');
select pg_temp.again();
select is(pg_temp.extract(true, '{"document_type": "text"}'), true, 'what has no pages to draw');
select is(pg_temp.jobs(), 0, 'is not drawn');
select pg_temp.again();
select is(pg_temp.extract(true), true, 'a PDF');
select is(pg_temp.jobs(), 1, 'is queued');
select tests.as_superuser();
select is((select group_id from pgboss.job where name = 'render_pages'), pg_temp.tenant(), 'for its tenant');
select tests.as_service();
select is(pg_temp.noted(), '{"status": "pending"}', 'and says so');

select is(pg_temp.claim('first'), true, 'a worker takes it');
select is(pg_temp.claim('second'), false, 'nobody else meanwhile');
select is(jsonb_array_length(tests.kept('first_paths')::jsonb), 3, 'with keys for as many pages as it draws');
select ok(
  tests.kept('first_paths')::jsonb ->> 0 like concat(pg_temp.tenant(), '/', tests.kept('id'), '/pages/%/1.png'), 'in the folder of the source, below one of its own'
);
select is(ai.renew_page_rendering_lease(tests.kept_id('id'), tests.kept_id('first')), true, 'the holder renews');
select is(ai.renew_page_rendering_lease(tests.kept_id('id'), gen_random_uuid()), false, 'others do not');
select is_empty($$select ai.due_page_renderings()$$, 'nothing is due meanwhile');
select is(ai.mark_dead_page_rendering(tests.kept_id('id')), false, 'nor dead');

select pg_temp.expire();
select is(pg_temp.claim('second'), true, 'an expired lease is taken over');
select set_eq(
  'select path, at_once from pg_temp.removed()',
  $$select jsonb_array_elements_text(tests.kept('first_paths')::jsonb), false as at_once$$,
  'and whatever the first has stored is removed, when it cannot store any more'
);
select ok(tests.kept('first_paths') <> tests.kept('second_paths'), 'the second stores elsewhere');
select is(ai.finish_page_rendering(tests.kept_id('id'), tests.kept_id('first'), '[{"page": 1, "width": 1, "height": 1, "dpi": 1}]'), false, 'the late holder lists nothing');
select is(ai.fail_page_rendering(tests.kept_id('id'), tests.kept_id('first'), 'failed', 'x'), false, 'and fails nothing');
select is(pg_temp.images(), '[]', 'nothing of it is seen');

select is(
  tests.outcome(format('select ai.finish_page_rendering(%L, %L, %L)', tests.kept('id'), tests.kept('second'), images)), '22023', images || ' is no list'
)
from unnest(array['[]', '[{"page": 4}]', '[{"page": 0}]', '[{"page": 1}, {"page": 1}]']) as images;
select pg_temp.forget();
select is(
  ai.finish_page_rendering(tests.kept_id('id'), tests.kept_id('second'), '[{"page": 3, "width": 30, "height": 40, "dpi": 100}, {"page": 1, "width": 10, "height": 20, "dpi": 90}]'),
  true, 'the holder lists its images'
);
select is(
  pg_temp.images(),
  jsonb_build_array(
    jsonb_build_object('storage_path', tests.kept('second_paths')::jsonb ->> 0, 'page', 1, 'format', 'png', 'metadata', '{"width": 10, "height": 20, "dpi": 90}'::jsonb),
    jsonb_build_object('storage_path', tests.kept('second_paths')::jsonb ->> 2, 'page', 3, 'format', 'png', 'metadata', '{"width": 30, "height": 40, "dpi": 100}'::jsonb)
  ),
  'in the order of the pages, as the agent API has them'
);
select is(pg_temp.noted(), '{"status": "rendered", "count": 2}', 'counted');
select is_empty('select path from pg_temp.removed()', 'and none is removed');
select tests.keep('listed', pg_temp.images()::text);

-- Again: what is listed stays until there is something else.
select pg_temp.again();
select is(pg_temp.extract(true), true, 'extracted again');
select is(pg_temp.images()::text, tests.kept('listed'), 'the images stay');
select pg_temp.claim('third');
select is(ai.fail_page_rendering(tests.kept_id('id'), tests.kept_id('third'), 'failed', 'limit_exceeded'), true, 'drawing fails');
select is(pg_temp.images()::text, tests.kept('listed'), 'they still stay');
select is(pg_temp.noted(), '{"status": "failed", "reason_code": "limit_exceeded"}', 'it says why');
select set_eq('select path from pg_temp.removed()', $$select jsonb_array_elements_text(tests.kept('third_paths')::jsonb)$$, 'what was drawn goes');
select pg_temp.forget();
select pg_temp.again();
select pg_temp.extract(true);
select pg_temp.claim('fourth');
-- Wanted anew while it is drawn: who draws has lost the lease.
select pg_temp.again();
select pg_temp.extract(true);
select is(ai.renew_page_rendering_lease(tests.kept_id('id'), tests.kept_id('fourth')), false, 'asked for again, the one at it is late');
select pg_temp.forget();
select pg_temp.claim('fifth');
select ai.finish_page_rendering(tests.kept_id('id'), tests.kept_id('fifth'), '[{"page": 2, "width": 30, "height": 40, "dpi": 100}]');
select set_eq(
  'select path, at_once from pg_temp.removed()', $$select value ->> 'storage_path', false as at_once from jsonb_array_elements(tests.kept('listed')::jsonb)$$,
  'what was listed is replaced, and goes when nobody can be reading it'
);

-- Given up.
select pg_temp.again();
select pg_temp.extract(true);
select tests.as_superuser();
delete from pgboss.job where name = 'render_pages';
update private.page_renderings set requested_at = now() - interval '1 minute' where source_id = tests.kept_id('id');
select tests.as_service();
select set_eq($$select ai.due_page_renderings()$$, $$select tests.kept_id('id')$$, 'without a job it is due');
select is(ai.mark_dead_page_rendering(tests.kept_id('id')), true, 'the queue gives it up');
select is(pg_temp.state(), 'failed dead_letter 0', 'with a reason');
select is(ai.redrive_dead_letters('render_pages'), 1, 'the operator puts it back');
select is(pg_temp.state(), 'pending 0', 'as new');

-- Deleted while it is drawn: the listed ones at once, the others when they cannot come any more.
select pg_temp.claim('sixth');
select pg_temp.forget();
select tests.keep('last', pg_temp.images() -> 0 ->> 'storage_path');
select tests.sign_in('member');
delete from ai.sources where id = tests.kept_id('id');
select tests.as_service();
select set_eq(
  $$select path, at_once from pg_temp.removed() where path like '%.png'$$,
  $$select tests.kept('last') as path, true as at_once union all select jsonb_array_elements_text(tests.kept('sixth_paths')::jsonb), false$$,
  'a deleted source takes all its images along'
);

select * from finish();
rollback;
