-- An app drops our two read policies and brings its own, word for word as in recipe 1. Tenants stay apart, search obeys, and
-- no policy calls itself.
begin;
select plan(20);
select tests.make_world();
-- A person who is in both tenants and owns one source in each: what keeps tenants apart is not ownership alone.
select tests.make_source('a_both', 'a', 'both'), tests.make_source('b_both', 'b', 'both');
insert into public.documents (source_id, owner_id)
values (tests.id('source a_both'), tests.person('both')), (tests.id('source b_both'), tests.person('both'));

DROP POLICY IF EXISTS auth_read_sources ON ai.sources;
CREATE POLICY auth_read_own_sources ON ai.sources
  FOR SELECT TO authenticated
  USING (
    EXISTS (
      SELECT 1 FROM public.documents
      WHERE source_id = ai.sources.id
        AND owner_id = auth.uid()
    )
  );
DROP POLICY IF EXISTS auth_read_chunks ON ai.chunks;
CREATE POLICY auth_read_own_chunks ON ai.chunks
  FOR SELECT TO authenticated
  USING (
    EXISTS (
      SELECT 1 FROM ai.indexed_sources ix
      JOIN public.documents d ON d.source_id = ix.source_id
      WHERE ix.id = ai.chunks.indexed_source_id
        AND d.owner_id = auth.uid()
    )
  );

create function pg_temp.names(query text) returns text language plpgsql as $$
declare
  result text;
begin
  execute format('select coalesce(string_agg(name, '' '' order by name), ''nothing'') from (%s) as found (name)', query) into result;
  return result;
end;
$$;
select tests.keep('sources', 'select name from ai.sources');
select tests.keep('pages', $$select sources.name from ai.source_pages join ai.sources on sources.id = source_pages.source_id$$);
select tests.keep('chunks', 'select split_part(split_part(text, ''of '', 2), '' is'', 1) from ai.chunks');
select tests.keep('found', $$select source_name from ai.search('harbour tariff', tests.axis(1)::extensions.vector, 'bulkhead-hash-384')$$);

select tests.sign_in('member');
select is(pg_temp.names(tests.kept('sources')), 'a_open a_secret', 'a member sees the own sources only');
select is(pg_temp.names(tests.kept('pages')), 'a_open a_secret', 'the own pages');
select is(pg_temp.names(tests.kept('chunks')), 'a open a secret', 'the own chunks');
select is(pg_temp.names(tests.kept('found')), 'a_open a_secret', 'and finds in them only');
select ok(not private.chunk_policies_are_shipped(), 'search has noticed that another rule holds');
select set_eq('select source_id from ai.indexed_sources', 'select id from ai.sources', 'so do indexed sources');
select tests.sign_in('admin');
select is(pg_temp.names(tests.kept('sources')), 'a_boss a_named a_team', 'an admin no more than that');
select is(pg_temp.names(tests.kept('found')), 'a_boss a_named a_team', 'in search either');
select tests.sign_in('owner');
select is(pg_temp.names(tests.kept('sources')), 'nothing', 'who owns nothing sees nothing');
select is(pg_temp.names(tests.kept('found')), 'nothing', 'and finds nothing');
select tests.sign_in('b_member');
select is(pg_temp.names(tests.kept('sources')), 'b_open', 'the other tenant: its own');

select tests.sign_in('both');
select is(pg_temp.names(tests.kept('sources')), 'a_both b_both', 'a person of both tenants sees the own in both');
select tests.sign_in('both', headers => jsonb_build_object('x-tenant-id', tests.tenant('a')));
select is(pg_temp.names(tests.kept('sources')), 'a_both', 'and in one where the header says so: the restrictive policy still stands');
select is(pg_temp.names(tests.kept('chunks')), 'a both', 'for chunks');
select is(pg_temp.names(tests.kept('found')), 'a_both', 'and search');
select tests.sign_in('outsider');
select is(pg_temp.names(tests.kept('sources')), 'nothing', 'who owned something and left sees nothing');

-- What is written still works under the app's policies.
select tests.sign_in('member');
select is(
  tests.outcome($$select tests.keep('id', ai.register_source('x.txt', '.txt', 'text/plain', 1, repeat('a', 64)) ->> 'id')$$), 'ok', 'uploading works'
);
select set_eq($$select name from ai.sources where id = tests.kept_id('id')$$, array['x.txt'], 'and is seen at once');
select isnt_empty($$update ai.sources set metadata = '{"x": 1}' where name = 'a_open' returning id$$, 'changing the own works');
select is(
  tests.outcome(format('insert into public.documents (source_id, owner_id) values (%L, %L)', tests.id('source a_found'), tests.person('member'))), 'ok',
  'claiming works, although the app''s policy hides what is to be claimed'
);

select * from finish();
rollback;
