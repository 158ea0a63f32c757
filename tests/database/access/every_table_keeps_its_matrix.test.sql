-- Every table x principal x verb against tests.access_expectations(): denials and successes side by side, each table
-- holding rows of both tenants, rows compared as exact sets.
begin;
select plan((select count(*)::int from tests.tables()) * 8 * 5 + 5);
select tests.make_world();

select is_empty('select * from tests.missing_expectations()', 'every table, verb and principal has exactly one expectation');
select is_empty(
  'select relation from tests.access_expectations() except select relation from tests.tables()',
  'no expectation is about a table that is gone'
);
select is_empty(
  $$
    select tables.relation
    from tests.access_tables() as tables
    cross join lateral (
      select count(*) filter (where label like 'a%') as a_count, count(*) filter (where label like 'b%') as b_count,
        count(*) filter (where label is null) as nameless_count
      from tests.rows_of(tables.relation)
    ) as counts
    where (counts.a_count = 0 or counts.b_count = 0 or counts.nameless_count > 0)
      and tables.relation not in ('private.shipped_policies', 'private.queue_limits', 'private.sweeps') -- of no tenant
  $$,
  'every table holds rows of both tenants, all with a name'
);

create table ai.newcomers (id uuid primary key);
select set_eq(
  'select distinct relation from tests.missing_expectations()', array['ai.newcomers'], 'a table without expectations is noticed'
);
drop table ai.newcomers;
create view public.newcomers as select 1 as one;
select set_eq(
  'select distinct relation from tests.missing_expectations()', array['public.newcomers'], 'so is a view'
);
drop view public.newcomers;

select is(
  tests.probe(expectations.relation, expectations.verb, expectations.principal),
  expectations.expected,
  format('%s: %s as %s', expectations.relation, expectations.verb, expectations.principal)
)
from tests.access_expectations() as expectations
join tests.tables() as tables on tables.relation = expectations.relation
order by expectations.relation, expectations.principal, expectations.verb;

select * from finish();
rollback;
