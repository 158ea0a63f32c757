begin;
select plan(47);
select tests.make_world();

create function pg_temp.register(
  name text, hash text default repeat('a', 64), visibility text default 'tenant', bases uuid[] default null, size_bytes bigint default 10,
  file_type text default '.txt', mime_type text default 'text/plain', metadata jsonb default '{}'
)
returns text
language sql
as $$
  select tests.outcome(format(
    'select tests.keep(''source'', ai.register_source(%L, %L, %L, %L, %L, %L, %L, %L)::text)', name, file_type, mime_type, size_bytes, hash, visibility,
    metadata, bases
  ));
$$;

-- What it makes.
select tests.sign_in('member');
select is(pg_temp.register('Tariff 2026.PDF', repeat('A', 64), file_type => '.PDF', metadata => '{"year": 2026}'), 'ok', 'a member registers a source');
select tests.keep('id', tests.kept('source')::jsonb ->> 'id');
select set_eq(
  $$
    select tenant_id, owner_id, name, file_type, content_hash, visibility, extraction_status, uploaded_at is null, metadata
    from ai.sources
    where id = tests.kept_id('id')
  $$,
  $$values (tests.tenant('a'), tests.person('member'), 'Tariff 2026.PDF', '.pdf', repeat('a', 64), 'tenant', 'pending', true, '{"year": 2026}'::jsonb)$$,
  'in their tenant, theirs, pending, without bytes'
);
select is(
  tests.kept('source')::jsonb ->> 'storage_path', format('%s/%s/Tariff_2026.PDF', tests.tenant('a'), tests.kept('id')), 'with a key the database made'
);
select ok(
  not tests.kept('source')::jsonb ?| array['lease_token', 'leased_by', 'lease_expires_at', 'allowed_principals'],
  'the answer holds nothing that clients may not see'
);
select set_eq(
  $$select owner_id, title from public.documents where source_id = tests.kept_id('id')$$,
  $$values (tests.person('member'), 'Tariff 2026.PDF')$$, 'and is recorded in documents'
);
select tests.as_superuser();
select is_empty($$select id from pgboss.job where name = 'extract_source'$$, 'nothing is queued before the bytes are there');

-- Where it is from.
select tests.sign_in('member');
create function pg_temp.from_elsewhere(origin jsonb)
returns text
language sql
as $$
  select tests.outcome(format(
    'select tests.keep(''imported'', ai.register_source(''i.txt'', ''.txt'', ''text/plain'', 1, %L, origin => %L)::text)',
    encode(sha256(convert_to(origin::text, 'UTF8')), 'hex'), origin
  ));
$$;
select is(pg_temp.from_elsewhere('{"source_type": "url", "origin_url": "https://a.example/"}'), 'ok', 'a source may be from elsewhere');
select is(
  tests.kept('imported')::jsonb -> 'auto_metadata', '{"source_type": "url", "origin_url": "https://a.example/"}'::jsonb, 'which stands beside the metadata'
);
select is(pg_temp.from_elsewhere('{"page_count": 9}'), 'PT400 invalid_request', 'but nothing else is said there');
select is(pg_temp.from_elsewhere('{"origin_url": {"a": 1}}'), 'PT400 invalid_request', 'nor anything but a text');
select is(pg_temp.from_elsewhere(jsonb_build_object('origin_url', repeat('x', 2049))), 'PT400 invalid_request', 'nor a long one');

-- Names.
select tests.sign_in('member');
create function pg_temp.key_of(name text)
returns text
language plpgsql
as $$
declare
  source jsonb;
begin
  source := ai.register_source(name, '.txt', 'text/plain', 1, encode(sha256(convert_to(name, 'UTF8')), 'hex'));
  return (source ->> 'name') || ' -> ' || replace(source ->> 'storage_path', (source ->> 'tenant_id') || '/' || (source ->> 'id') || '/', '');
end;
$$;
select is(pg_temp.key_of('../../etc/passwd'), '.._.._etc_passwd -> .._.._etc_passwd', 'no path gets through');
select is(pg_temp.key_of('..\..\boot.ini'), '.._.._boot.ini -> .._.._boot.ini', 'nor a Windows one');
select is(pg_temp.key_of(E'a\r\nSet-Cookie: x\t.txt'), 'aSet-Cookie: x.txt -> aSet-Cookie_x.txt', 'nor control characters');
select is(pg_temp.key_of('  Größe %2e%2e%2f 価格.pdf '), 'Größe %2e%2e%2f 価格.pdf -> Gr_e_2e_2e_2f_.pdf', 'the key is ASCII, the name stays');
select is(pg_temp.key_of('日本'), '日本 -> _', 'a name without a plain character has a key all the same');
select is(pg_temp.key_of(repeat('x', 200) || '.pdf'), repeat('x', 200) || '.pdf -> ' || repeat('x', 96) || '.pdf', 'a long key keeps the extension');
select is(pg_temp.register('..'), 'PT400 invalid_request', 'two dots are no name');
select is(pg_temp.register(E' \n '), 'PT400 invalid_request', 'nor is white space');
select is(pg_temp.register(null), 'PT400 invalid_request', 'nor nothing');
select is(pg_temp.register(repeat('x', 256)), 'PT400 invalid_request', 'nor 256 characters');
select is(
  tests.outcome(format($$update ai.sources set name = E'x\r\nSet-Cookie: a=b' where id = %L$$, tests.kept('id'))), '23514', 'renaming does not get round it'
);
select is(tests.outcome(format($$update ai.sources set name = '../x' where id = %L$$, tests.kept('id'))), '23514', 'not with a path either');
select is(tests.outcome(format($$update ai.sources set name = 'Tariff 2027.pdf' where id = %L$$, tests.kept('id'))), 'ok', 'though renaming is possible');

-- The rest.
select is(pg_temp.register('x.txt', 'abc'), 'PT400 invalid_request', 'a hash that is none');
select is(pg_temp.register('x.txt', null), 'PT400 invalid_request', 'no hash');
select is(pg_temp.register('x.txt', size_bytes => 0), 'PT400 empty_document', 'an empty file');
select is(pg_temp.register('x.txt', size_bytes => -1), 'PT400 empty_document', 'a negative size');
select is(pg_temp.register('x.txt', visibility => 'public'), 'PT400 invalid_request', 'a visibility we do not have');
select is(pg_temp.register('x.txt', visibility => null), 'PT400 invalid_request', 'no visibility');
select is(pg_temp.register('x.txt', file_type => null), 'PT400 invalid_request', 'no file type');
select is(pg_temp.register('x.txt', file_type => 'text/plain'), 'PT400 invalid_request', 'a file type that is no extension');
select is(pg_temp.register('x.txt', mime_type => null), 'PT400 invalid_request', 'no MIME type');
select is(pg_temp.register('x.txt', metadata => '[1]'), 'PT400 invalid_request', 'metadata that is no object');
select is(
  pg_temp.register('x.txt', metadata => (select jsonb_object_agg(md5(i::text), md5((i + 1)::text)) from generate_series(1, 3000) as i)), 'PT400 invalid_request',
  'metadata of more than 64 KiB'
);

-- Knowledge bases.
select is(pg_temp.register('x.txt', repeat('b', 64), bases => array[tests.id('base a'), tests.id('base a')]), 'ok', 'a knowledge base, named twice');
select set_eq(
  $$select knowledge_base_id, index_status from ai.indexed_sources where source_id = (tests.kept('source')::jsonb ->> 'id')::uuid$$,
  $$values (tests.id('base a'), 'pending')$$, 'it will be indexed there once'
);
select is(pg_temp.register('x.txt', repeat('c', 64), bases => array[tests.id('base b')]), 'PT404 not_found', 'one of another tenant');
select tests.keep('answer', tests.kept('last_message'));
select is(pg_temp.register('x.txt', repeat('c', 64), bases => array[gen_random_uuid()]), 'PT404 not_found', 'one that does not exist');
select is(tests.kept('last_message'), tests.kept('answer'), 'the two look alike');
select is_empty($$select id from ai.sources where content_hash = repeat('c', 64)$$, 'and leave nothing behind');

-- Who.
select tests.sign_in('viewer');
select is(pg_temp.register('x.txt', repeat('d', 64)), 'PT403 forbidden', 'viewers do not upload');
select tests.sign_in('outsider');
select is(pg_temp.register('x.txt', repeat('d', 64)), 'PT403 forbidden', 'people of no tenant do not');
select tests.sign_in('both');
select is(pg_temp.register('x.txt', repeat('d', 64)), 'PT400 tenant_required', 'people of two must say where');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('b')));
select is(pg_temp.register('x.txt', repeat('d', 64)), 'ok', 'and then do');
select is(tests.kept('source')::jsonb ->> 'tenant_id', tests.tenant('b')::text, 'there');
select tests.sign_in('backend_a');
select pg_temp.register('x.txt', repeat('e', 64));
select is(tests.kept('source')::jsonb -> 'owner_id', 'null'::jsonb, 'what the backend uploads is nobody''s');

select * from finish();
rollback;
