-- An upload that was announced and never sent gives its bytes free again after an hour, and is forgotten after a day.
begin;
select plan(7);

select tests.sign_in('member');
select tests.keep('unsent', ai.register_source('plan.pdf', '.pdf', 'application/pdf', 5, repeat('a', 64)) ->> 'id');
select tests.keep('sent', ai.register_source('sent.pdf', '.pdf', 'application/pdf', 5, repeat('b', 64)) ->> 'id');
select ai.complete_upload(tests.kept_id('sent'));

select tests.sign_in('admin');
select throws_ok(
  $$select ai.register_source('copy.pdf', '.pdf', 'application/pdf', 5, repeat('a', 64))$$, 'PT409', null, 'while it may still arrive it counts'
);

select tests.as_superuser();
update ai.sources set created_at = now() - interval '2 hours' where id in (tests.kept_id('unsent'), tests.kept_id('sent'));
select tests.sign_in('admin');
select tests.keep('copy', ai.register_source('copy.pdf', '.pdf', 'application/pdf', 5, repeat('a', 64)) ->> 'id');
select isnt(tests.kept('copy'), tests.kept('unsent'), 'after an hour somebody else can upload the same bytes');
select is_empty($$select id from ai.sources where id = tests.kept_id('unsent')$$, 'and the first announcement is gone');
select throws_ok(
  $$select ai.register_source('copy.pdf', '.pdf', 'application/pdf', 5, repeat('b', 64))$$, 'PT409', null, 'what was sent stays, however old'
);

select tests.as_service();
select is(ai.remove_stale_uploads(), 0, 'the sweep leaves today''s announcements');
select tests.as_superuser();
update ai.sources set created_at = now() - interval '25 hours' where id in (tests.kept_id('copy'), tests.kept_id('sent'));
select tests.as_service();
select is(ai.remove_stale_uploads(), 1, 'and forgets those of yesterday');
select is((select array_agg(id) from ai.sources where content_hash in (repeat('a', 64), repeat('b', 64))), array[tests.kept_id('sent')], 'but no source that was sent');

select * from finish();
rollback;
