-- A word that stands in very many items finds nothing in particular: with a vector, BM25 ranks what that found.
begin;
select plan(10);
select tests.make_source('port ' || n, 'a', null, text => 'The port of berth ' || repeat('quay ', n) || '.') from generate_series(1, 27) as n;
select tests.make_source('harbour', 'a', null, text => 'The harbour of pilots.');
select tests.make_source('private port', 'a', 'admin', 'private', text => 'The port of berth one.');
select tests.make_source('port of others', 'b', null, text => 'The port of berth one.');

-- The text leg for a query of which every word is too common for `budget`, with so many candidates; the names it ranks, in order.
create function pg_temp.ranked(query text, near text[], candidates int, budget int default 0)
returns text language plpgsql as $$
declare
  scope private.search_scope := private.caller_search_scope('chunk', null, null, null, null);
  parsed private.parsed_query := private.parse_query(ranked.query, scope.languages);
  leg private.search_leg;
begin
  leg := private.matching_items(
    private.weigh_terms(parsed.words, scope.segments, scope.languages, scope.items, 16, budget), parsed, scope, null,
    (select array_agg(tests.id('chunk ' || name)) from unnest(near) as name), 1.2, 0.75, candidates, 60
  );
  return (
    select string_agg(sources.name, ', ' order by found.place)
    from unnest(leg.item_ids) with ordinality as found (id, place)
    join ai.chunks on chunks.id = found.id
    join ai.sources on sources.id = chunks.source_id
  );
end;
$$;
select tests.sign_in('member');
select is(pg_temp.ranked('port', array['port 9', 'port 3', 'harbour'], 1), 'port 3, port 9', 'of what is near, what holds the word, by BM25');
select is(pg_temp.ranked('port berth', array['port 9', 'port 3', 'harbour'], 1), 'port 3, port 9', 'and with two words what holds both');
select is(pg_temp.ranked('port harbour', array['port 9', 'harbour'], 1), null, 'no item that lacks one of them');
select is(pg_temp.ranked('port', array['port 3', 'private port', 'port of others'], 1), 'port 3', 'nothing that the caller may not see, whoever names it');
select is(pg_temp.ranked('port -quay', array['port 9', 'port 3'], 1), null, 'nothing that is excluded');
select is(cardinality(string_to_array(pg_temp.ranked('port', null, 1), ',')), 1, 'without vectors as many as are ranked');
select is(cardinality(string_to_array(pg_temp.ranked('port', array['port 3'], 2), ',')), 2, 'words in no more than 25 times that: any item that holds them');
select is(cardinality(string_to_array(pg_temp.ranked('port', array['port 9', 'port 3'], 1, budget => 100), ',')), 1, 'nor where the word is rare enough');
select is(pg_temp.ranked('"port of berth"', array['harbour'], 1) is not null, true, 'nor in a phrase, which is looked for everywhere');

select tests.sign_in('admin');
select is(pg_temp.ranked('port', array['port 9', 'private port', 'port of others'], 1), 'private port, port 9', 'who may see it has it');
select * from finish();
rollback;
