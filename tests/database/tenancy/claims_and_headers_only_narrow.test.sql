-- Authority is what memberships say. A header or claim picks among the caller's tenants and never adds one.
begin;
select plan(34);
select tests.make_world();

create function pg_temp.tenants_seen()
returns text
language sql
as $$ select coalesce(string_agg(tests.letter(id), '' order by tests.letter(id)), 'none') from public.tenants; $$;
create function pg_temp.header(tenant text) returns jsonb language sql as $$ select jsonb_build_object('x-tenant-id', tenant); $$;
create function pg_temp.claim(tenant text) returns jsonb language sql as $$ select jsonb_build_object('tenant_id', tenant); $$;
create function pg_temp.app_metadata(tenant text)
returns jsonb language sql as $$ select jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', tenant)); $$;

-- A person of two tenants.
select tests.sign_in('both');
select is(pg_temp.tenants_seen(), 'ab', 'with nothing said: all of the caller''s tenants');
select is((select count(*)::int from ai.sources where visibility = 'tenant'), 4, 'and the sources of both');
select tests.sign_in('both', headers => pg_temp.header(tests.tenant('a')::text));
select is(pg_temp.tenants_seen(), 'a', 'the header narrows');
select set_eq('select name from ai.sources', array['a_open', 'a_found'], 'to the sources of that tenant');
select tests.sign_in('both', headers => pg_temp.header(upper(tests.tenant('b')::text)));
select is(pg_temp.tenants_seen(), 'b', 'an id in capitals is the same id');
select tests.sign_in('both', pg_temp.claim(tests.tenant('a')::text));
select is(pg_temp.tenants_seen(), 'a', 'the top-level claim narrows');
select tests.sign_in('both', pg_temp.app_metadata(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'b', 'app_metadata narrows');
select tests.sign_in('both', pg_temp.claim(tests.tenant('a')::text) || pg_temp.app_metadata(tests.tenant('a')::text), pg_temp.header(tests.tenant('a')::text));
select is(pg_temp.tenants_seen(), 'a', 'all three may agree');
select tests.sign_in('both', pg_temp.claim(tests.tenant('a')::text), pg_temp.header(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'none', 'claim and header that disagree leave nothing');
select tests.sign_in('both', pg_temp.claim(tests.tenant('a')::text) || pg_temp.app_metadata(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'none', 'nor do two claims that disagree');
select is_empty('select id from ai.sources', 'not one source');

-- A person of one tenant who asks for another.
select tests.sign_in('member', headers => pg_temp.header(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'none', 'the header of a foreign tenant gives nothing, not even one''s own');
select is_empty('select id from ai.chunks', 'no chunk');
select tests.sign_in('member', pg_temp.claim(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'none', 'nor does a forged tenant_id claim');
select tests.sign_in('member', pg_temp.app_metadata(tests.tenant('b')::text));
select is(pg_temp.tenants_seen(), 'none', 'nor a stale one in app_metadata');
select tests.sign_in('outsider', pg_temp.claim(tests.tenant('a')::text));
select is(pg_temp.tenants_seen(), 'none', 'a claim makes nobody a member');

-- What is no tenant narrows to nothing instead of being ignored.
select tests.sign_in('member', headers => pg_temp.header('harbor'));
select is(pg_temp.tenants_seen(), 'none', 'a header that is no id');
select tests.sign_in('member', headers => pg_temp.header(''));
select is(pg_temp.tenants_seen(), 'none', 'an empty header');
select tests.sign_in('member', headers => pg_temp.header(tests.tenant('a') || ' or true'));
select is(pg_temp.tenants_seen(), 'none', 'an id with something behind it');
select tests.sign_in('member', headers => pg_temp.header('00000000-0000-0000-0000-000000000000'));
select is(pg_temp.tenants_seen(), 'none', 'the nil id');
select tests.sign_in('member', '{"tenant_id": ["11111111-1111-4111-8111-111111111111"]}');
select is(pg_temp.tenants_seen(), 'none', 'a claim of another type');
select tests.sign_in('member', '{"tenant_id": null}');
select is(pg_temp.tenants_seen(), 'a', 'null says nothing');
select tests.sign_in('member', '{"app_metadata": "11111111-1111-4111-8111-111111111111"}');
select is(pg_temp.tenants_seen(), 'a', 'app_metadata that is no object says nothing');

-- What people can write into their own tokens, or what is about somebody else.
select tests.sign_in('outsider', jsonb_build_object('user_metadata', jsonb_build_object('tenant_id', tests.tenant('a'), 'role', 'owner')));
select is(pg_temp.tenants_seen(), 'none', 'user_metadata is not read');
select tests.sign_in('viewer', '{"user_metadata": {"role": "owner"}, "app_metadata": {"role": "owner"}, "roles": ["owner"]}');
select is_empty('update public.tenants set name = name returning id', 'no claim makes a viewer more than that');
select tests.sign_in('viewer', '{"role": "service_role"}');
select is(current_user::text, 'authenticated', 'the role in a claim is not the role of the session');
select is_empty('update public.tenants set name = name returning id', 'and gives no rights');
select tests.sign_in('member', jsonb_build_object('act', jsonb_build_object('agent_id', gen_random_uuid(), 'sub', tests.person('owner'))));
select set_eq('select name from ai.sources', array['a_open', 'a_secret', 'a_named', 'a_found'], 'an act claim changes no rights');
select tests.sign_in('member', '{"is_anonymous": true}');
select is(pg_temp.tenants_seen(), 'a', 'a member stays one');

-- Subjects that are nobody.
select tests.become('authenticated', '{"role": "authenticated"}');
select is(pg_temp.tenants_seen(), 'none', 'no subject');
select tests.become('authenticated', '{"role": "authenticated", "sub": "owner@harbor.example"}');
select throws_ok('select id from public.tenants', '22P02', null, 'a subject that is no id is an error, not a person');
select tests.become('authenticated', jsonb_build_object('role', 'authenticated', 'sub', gen_random_uuid()));
select is(pg_temp.tenants_seen(), 'none', 'a subject nobody has');
select tests.become('authenticated', null);
select is(pg_temp.tenants_seen(), 'none', 'no claims at all');

-- Several tenants and nothing that picks one.
select tests.sign_in('both');
select is(
  tests.outcome($$insert into ai.knowledge_bases (name) values ('x')$$), 'PT400 tenant_required', 'a new row must be told its tenant'
);

select * from finish();
rollback;
